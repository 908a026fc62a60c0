"""The doctor: finds what is broken, explains it, and never dies of it."""

import json
import re
import site
import subprocess
import sys
from importlib import import_module, metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

import framegate
from framegate import doctor

NMS = "operator torchvision::nms does not exist"


def importer(**modules):
    """Import that knows only these modules; an exception among them is raised."""

    def load(name):
        found = modules.get(name, ModuleNotFoundError(f"No module named {name!r}"))
        if isinstance(found, Exception):
            raise found
        return found

    return load


def test_this_environment_is_healthy():
    diagnosis = doctor.diagnose()
    assert diagnosis.is_healthy, [check for check in diagnosis.checks if check.status == "broken"]
    assert diagnosis.versions["torch"] == metadata.version("torch")
    assert json.loads(json.dumps(diagnosis.to_dict()))["is_healthy"] is True


def test_decoder_check_decodes_the_shipped_clip():
    check = doctor.check_decoder()
    assert check.status == "ok"
    assert "250 frames" in check.found


def test_torchvision_trap_is_explained():
    check = doctor.check_torchvision(importer(torchvision=RuntimeError(NMS)))
    assert check.status == "broken"
    assert NMS in check.found
    assert "framegate does not need torchvision" in check.remedy
    assert "pip uninstall torchvision" in check.remedy


def test_cuda_torchvision_that_imports_beside_cpu_torch_is_noted():
    torchvision = SimpleNamespace(__version__="0.28.0+cu130")
    cpu, gpu = (SimpleNamespace(version=SimpleNamespace(cuda=cuda)) for cuda in (None, "13.0"))
    assert doctor.check_torchvision(importer(torchvision=torchvision, torch=cpu)).status == "note"
    assert doctor.check_torchvision(importer(torchvision=torchvision, torch=gpu)).status == "ok"


@pytest.mark.parametrize(
    ("installed", "status"),
    [
        ("5.19.0", "ok"),
        ("5.23.0", "ok"),
        ("5.17.3", "broken"),
        ("4.57.0", "broken"),
        ("not installed", "broken"),
    ],
)
def test_lowest_transformers(installed, status):
    check = doctor.check_lowest({"transformers": installed, "torch": "2.13.0+cpu"})
    assert check.status == status
    if status == "broken":
        assert "'transformers>=5.19'" in check.remedy


def test_modules_that_cannot_be_imported_are_named():
    check = doctor.check_modules(["av", "cv2"], importer(cv2=object()))
    assert check.status == "broken"
    assert "av: ModuleNotFoundError" in check.found
    assert "cv2" not in check.found


def test_shadowing_folders_and_files_are_found(tmp_path):
    assert doctor.check_shadowing(tmp_path).status == "ok"
    (tmp_path / "models").mkdir()
    (tmp_path / "tokenizers").mkdir()
    assert doctor.check_shadowing(tmp_path).status == "ok"  # without __init__.py it hides nothing
    (tmp_path / "tokenizers" / "__init__.py").touch()
    (tmp_path / "torch.py").touch()
    check = doctor.check_shadowing(tmp_path)
    assert check.status == "note"
    assert "tokenizers" in check.found
    assert "torch.py" in check.found


def test_two_owners_of_cv2_are_told():
    assert doctor.check_opencv(["opencv-python-headless"]).status == "ok"
    assert doctor.check_opencv([]).status == "ok"
    check = doctor.check_opencv(["opencv-python", "opencv-python-headless"])
    assert check.status == "note"
    assert "opencv-python and opencv-python-headless" in check.found
    assert "pip uninstall -y opencv-python opencv-python-headless" in check.remedy


def test_the_second_owner_is_found_where_it_is_installed(tmp_path, monkeypatch):
    second = tmp_path / "opencv_python-4.11.0.86.dist-info"
    second.mkdir()
    (second / "METADATA").write_text("Metadata-Version: 2.1\nName: opencv-python\nVersion: 4.11.0.86\n")
    monkeypatch.syspath_prepend(tmp_path)
    (check,) = [check for check in doctor.diagnose().checks if check.name == "opencv"]
    assert (check.status, "opencv-python and opencv-python-headless" in check.found) == ("note", True)


def test_model_classes_that_do_not_load_are_named():
    class Broken:
        def __getattr__(self, name):
            raise ModuleNotFoundError(f"Could not import module {name!r}")

    check = doctor.check_model_classes(importer(transformers=Broken()))
    assert check.status == "broken"
    assert "AutoProcessor" in check.found


def test_the_plug_in_of_vllm_is_called_untested():
    assert "untested" in doctor.check_vllm("not installed").found
    assert (doctor.check_vllm("0.33.0").status, "untested" in doctor.check_vllm("0.33.0").found) == (
        "note",
        True,
    )


def test_a_check_that_raises_is_a_finding(monkeypatch):
    def check_decoder():
        raise OSError("no codec\nsecond line")

    monkeypatch.setattr(doctor, "check_decoder", check_decoder)
    diagnosis = doctor.diagnose()
    assert not diagnosis.is_healthy
    assert next(check for check in diagnosis.checks if check.name == "decoder").found == "OSError: no codec"


def test_real_trap_in_a_fresh_interpreter():
    """Without the shim of this environment a CUDA torchvision breaks beside a CPU torch: told, not thrown."""
    torch = import_module("torch")
    if (
        torch.version.cuda is not None
        or "+cu" not in metadata.version("torchvision") + _torchvision_version()
    ):
        pytest.skip("this torch and torchvision match")
    folders = [*site.getsitepackages(), str(Path(framegate.__file__).parent.parent)]
    # -S keeps the .pth file of the shim from running
    code = f"import sys; sys.path += {folders!r}\nfrom framegate.cli import app\napp(['doctor', '--json'])"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1, done.stderr
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert checks["torchvision"]["status"] == "broken"
    assert NMS in checks["torchvision"]["found"]
    assert checks["decoder"]["status"] == "ok"


def _torchvision_version():
    return import_module("torchvision").__version__


def test_lowest_versions_are_those_of_the_package():
    from importlib.metadata import requires

    wanted = [line for line in requires("framegate") if re.match(r"transformers[ <>=!~]", line)]
    assert wanted == [f"transformers>={'.'.join(map(str, doctor.LOWEST['transformers']))}"]
