"""Puts torchvision_cpu_shim.py and a .pth that loads it into the running interpreter's site-packages."""

import shutil
import site
from pathlib import Path

if __name__ == "__main__":
    target = Path(site.getsitepackages()[0])
    shutil.copy(
        Path(__file__).with_name("torchvision_cpu_shim.py"), target / "framegate_torchvision_cpu_shim.py"
    )
    (target / "zz_framegate_torchvision_cpu_shim.pth").write_text("import framegate_torchvision_cpu_shim\n")
