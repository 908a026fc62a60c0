"""What is installed, whether it works together, and what to do when it does not. Never raises."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from importlib import import_module, metadata, resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from framegate.version import __version__

Status = Literal["ok", "note", "broken"]
Importer = Callable[[str], Any]

PACKAGES = (
    "torch",
    "transformers",
    "triton",
    "av",
    "opencv-python-headless",
    "numpy",
    "pillow",
    "einops",
    "safetensors",
    "tokenizers",
    "huggingface_hub",
    "torchvision",
    "accelerate",
    "peft",
    "trl",
    "timm",
    "flash-attn",
    "vllm",
)
# all of them bring a module cv2
OPENCV = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
# package -> lowest version that works
LOWEST = {"transformers": (5, 19), "torch": (2, 6)}
NEEDED_MODULES = ("numpy", "cv2", "av", "PIL", "yaml", "einops", "safetensors", "torch")
SHADOWED = (
    "torch",
    "transformers",
    "tokenizers",
    "numpy",
    "av",
    "cv2",
    "PIL",
    "yaml",
    "einops",
    "safetensors",
    "triton",
)
CLIP_FRAMES = 250


@dataclass(frozen=True, kw_only=True)
class Check:
    """The outcome of one check.

    Args:
        name: what was checked.
        status: "ok", "note" (works, but worth knowing) or "broken" (something framegate needs does not work).
        found: what was found.
        remedy: what to do about it, "" when nothing.
    """

    name: str
    status: Status
    found: str
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """Versions and checks."""

    versions: dict[str, str]
    checks: list[Check] = field(default_factory=list)

    @property
    def is_healthy(self) -> bool:
        """True when nothing that is needed is broken."""
        return all(check.status != "broken" for check in self.checks)

    def to_dict(self) -> dict[str, Any]:
        """Spell the diagnosis as plain values."""
        return asdict(self) | {"is_healthy": self.is_healthy}


def diagnose() -> Diagnosis:
    """Look at the environment framegate runs in.

    Returns:
        Versions and checks; what goes wrong while checking is itself a finding.
    """
    versions = installed_versions()
    checks: list[Callable[[], Check]] = [
        lambda: check_python(sys.version_info[:2]),
        lambda: check_lowest(versions),
        lambda: check_modules(NEEDED_MODULES),
        lambda: check_shadowing(Path.cwd()),
        lambda: check_opencv([name for name in OPENCV if _is_installed(name)]),
        check_decoder,
        check_torchvision,
        check_model_classes,
        check_attention,
        check_gpu,
        lambda: check_vllm(versions["vllm"]),
    ]
    return Diagnosis(versions=versions, checks=[_guarded(check) for check in checks])


def installed_versions() -> dict[str, str]:
    """Say which version of each package is installed, "not installed" where there is none."""
    versions = {"python": platform.python_version(), "framegate": __version__}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def check_python(version: tuple[int, ...]) -> Check:
    """Check the interpreter's version."""
    words = ".".join(map(str, version))
    if version >= (3, 11):
        return Check(name="python", status="ok", found=words)
    return Check(name="python", status="broken", found=words, remedy="framegate needs Python 3.11 or newer.")


def check_lowest(versions: dict[str, str]) -> Check:
    """Check torch and transformers against the lowest versions that work."""
    old = [
        f"{package} {versions.get(package, 'not installed')} (needs >= {'.'.join(map(str, lowest))})"
        for package, lowest in LOWEST.items()
        if _release(versions.get(package, "")) < lowest
    ]
    if not old:
        return Check(name="versions", status="ok", found="torch and transformers are new enough")
    remedy = "pip install --upgrade " + " ".join(
        f"'{words.split()[0]}>={words.split()[-1][:-1]}'" for words in old
    )
    return Check(name="versions", status="broken", found="; ".join(old), remedy=remedy)


def check_modules(names: Iterable[str], importer: Importer = import_module) -> Check:
    """Check that every needed module can be imported."""
    failures = [f"{name}: {error}" for name in names if (error := _import_error(name, importer))]
    if not failures:
        return Check(name="modules", status="ok", found="all that framegate needs can be imported")
    remedy = "Reinstall what is named; `pip install .` in a checkout of framegate brings all of it."
    return Check(name="modules", status="broken", found="; ".join(failures), remedy=remedy)


def check_shadowing(folder: Path) -> Check:
    """Check that no module in the current folder hides an installed package of the same name."""
    hiding = [
        place.name
        for name in SHADOWED
        for place in (folder / f"{name}.py", folder / name)
        if (place.suffix == ".py" and place.is_file()) or (place / "__init__.py").is_file()
    ]
    if not hiding:
        return Check(name="current folder", status="ok", found="hides no package")
    remedy = (
        "Python started here imports these instead of the installed packages: rename them or work elsewhere."
    )
    return Check(name="current folder", status="note", found=f"holds {', '.join(hiding)}", remedy=remedy)


def check_opencv(owners: list[str]) -> Check:
    """Check that one package alone brings OpenCV: of two the files lie over one another."""
    if len(owners) < 2:
        return Check(name="opencv", status="ok", found=f"cv2 is of {''.join(owners) or 'a build of its own'}")
    remedy = (
        f"Keep one: pip uninstall -y {' '.join(owners)}, then pip install opencv-python-headless (opencv-python where "
        "other code opens windows; framegate runs with either)."
    )
    found = f"cv2 is of {' and '.join(owners)}, whose files lie over one another: which one runs is chance"
    return Check(name="opencv", status="note", found=found, remedy=remedy)


def check_decoder() -> Check:
    """Decode the shipped clip with PyAV."""
    import av

    with av.open(str(resources.files("framegate") / "assets" / "slides.mp4")) as container:
        count = sum(1 for _ in container.decode(video=0))
    if count == CLIP_FRAMES:
        return Check(name="decoder", status="ok", found=f"PyAV decodes the shipped clip, {count} frames")
    found = f"PyAV decodes {count} of the {CLIP_FRAMES} frames of the shipped clip"
    return Check(
        name="decoder", status="broken", found=found, remedy="Reinstall av: pip install --force-reinstall av"
    )


def check_torchvision(importer: Importer = import_module) -> Check:
    """Check whether torchvision, if there is one, works beside this torch."""
    if importer is import_module and find_spec("torchvision") is None:
        found = "not installed; framegate brings its own video processor and does not need it"
        return Check(name="torchvision", status="note", found=found, remedy="Stock video processors need it.")
    error = _import_error("torchvision", importer)
    if not error:
        return _torchvision_build(importer)
    if "torchvision::nms" not in error:
        return Check(
            name="torchvision", status="note", found=error, remedy="Reinstall or uninstall torchvision."
        )
    found = (
        f"cannot be imported: {error}. It was built for another torch (often: CUDA, beside a CPU-only torch)"
    )
    return Check(name="torchvision", status="broken", found=found, remedy=_TORCHVISION_REMEDY)


_TORCHVISION_REMEDY = (
    "framegate does not need torchvision, but transformers imports it wherever it is installed, so no stock "
    "processor and hardly a model class loads. Either `pip uninstall torchvision` (framegate's own processor "
    "takes over), or install torch and torchvision together from one index, both for CPU or both for CUDA."
)


def _torchvision_build(importer: Importer) -> Check:
    version, torch = importer("torchvision").__version__, importer("torch")
    if "+cu" in version and torch.version.cuda is None:
        found = (
            f"{version}, built for CUDA beside a CPU-only torch; it imports here because something mends it"
        )
        remedy = "Its compiled operators (ops.nms, image decoding) do not work; framegate uses none of them."
        return Check(name="torchvision", status="note", found=found, remedy=remedy)
    return Check(name="torchvision", status="ok", found=f"{version} works beside this torch")


def check_model_classes(importer: Importer = import_module) -> Check:
    """Check that transformers can load the classes of a video model."""
    transformers = importer("transformers")
    wanted = ("Qwen2_5_VLForConditionalGeneration", "AutoModelForImageTextToText", "AutoProcessor")
    failures = []
    for name in wanted:
        try:
            getattr(transformers, name)
        except Exception as error:  # transformers wraps whatever its own imports raise
            failures.append(f"{name}: {_first_line(error)}")
    if not failures:
        return Check(
            name="model classes", status="ok", found="transformers loads the classes of video models"
        )
    remedy = "See torchvision above if it is broken; otherwise reinstall transformers."
    return Check(name="model classes", status="broken", found="; ".join(failures), remedy=remedy)


def check_attention() -> Check:
    """List the attention implementations that can be used here."""
    from transformers import utils

    usable = ["eager", "sdpa"]
    for name in ("flash_attn_2", "flash_attn_3"):
        test = getattr(utils, f"is_{name}_available", None)
        if test is not None and test():
            usable.append(name.replace("flash_attn", "flash_attention"))
    return Check(name="attention", status="ok", found=", ".join(usable))


def check_gpu() -> Check:
    """Say whether there is a GPU that torch can use, and whether Triton kernels run."""
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return Check(name="gpu", status="ok", found=f"{', '.join(names)}; {_triton_words()}")
    if torch.backends.mps.is_available():
        return Check(name="gpu", status="ok", found="Apple MPS; kernels run as their PyTorch references")
    found = "none that torch can use; kernels run as their PyTorch and NumPy references"
    return Check(name="gpu", status="note", found=found)


def check_vllm(version: str) -> Check:
    """Say that the plug-in of vLLM, where there is a vLLM that finds it, has not run on a GPU yet."""
    found = "framegate's plug-in of it, loader and gate, is untested on a GPU"
    if version == "not installed":
        return Check(name="vllm", status="ok", found=f"not installed; {found}")
    remedy = "benchmarks/scale/check_vllm.py checks it there; VLLM_PLUGINS='' leaves it out."
    return Check(name="vllm", status="note", found=f"{version}; {found}", remedy=remedy)


def _triton_words() -> str:
    error = _import_error("triton", import_module)
    return f"Triton kernels stand aside ({error})" if error else "Triton kernels are available"


def _guarded(check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Exception as error:  # a doctor that dies of the illness helps nobody
        name = getattr(check, "__name__", "check").removeprefix("check_").replace("_", " ")
        return Check(name=name, status="broken", found=f"{type(error).__name__}: {_first_line(error)}")


def _import_error(name: str, importer: Importer) -> str:
    """The first line of what importing a module raises, "" when it can be imported."""
    try:
        importer(name)
    except Exception as error:  # a broken package may raise anything while it is imported
        return f"{type(error).__name__}: {_first_line(error)}"
    return ""


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _release(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, () when there are none."""
    numbers: list[int] = []
    for part in version.split("+")[0].split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)
