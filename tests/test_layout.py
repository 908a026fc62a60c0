"""The layout: shelves at the top level, one package in the wheel, nothing that shadows another package."""

import ast
import os
import subprocess
import sys
import zipfile
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHELVES = ("models", "kernels", "tokenizers", "configs")


def python(code, **options):
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, **options)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


@pytest.mark.parametrize("shelf", SHELVES)
def test_shelves_are_linked_and_shadow_nothing(shelf):
    link = ROOT / "src/framegate" / shelf
    assert link.is_symlink()
    assert link.resolve() == ROOT / shelf
    assert not (ROOT / shelf / "__init__.py").exists()


def test_no_init_file_under_tests():
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_test_files_have_unique_names():
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))


def sources():
    return [path for shelf in SHELVES for path in (ROOT / shelf).rglob("*.py")]


def core_sources():
    """Files of the face; links to the shelves are not followed."""
    core = ROOT / "src/framegate"
    return [path for path in core.rglob("*.py") if path.relative_to(core).parts[0] not in SHELVES]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_imports_as_framegate(path):
    dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    import_module(f"framegate.{dotted}")


def test_names_at_the_root_are_those_of_other_packages():
    code = "import importlib.util as u; print(u.find_spec('tokenizers').origin)"
    assert not Path(python(code, cwd=ROOT)).is_relative_to(ROOT / "tokenizers")
    python("from transformers import AutoTokenizer", cwd=ROOT)


def test_importing_framegate_is_light():
    heavy = ("torch", "transformers", "cv2", "av", "triton")
    assert python(f"import sys, framegate; print([m for m in {heavy} if m in sys.modules])") == "[]"


def test_every_public_name_resolves():
    import framegate

    for name in framegate.__all__:
        assert getattr(framegate, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        framegate.nonsense  # noqa: B018


def imports_of(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


FORBIDDEN = {
    "kernels": ("transformers", "framegate.tokenizers", "framegate.models", "av"),
    "tokenizers": ("transformers", "framegate.models"),
    "models": ("torchvision",),
    "configs": ("torch", "transformers", "framegate.models"),
}


@pytest.mark.parametrize("shelf", SHELVES)
def test_dependencies_go_one_way(shelf):
    for path in (ROOT / shelf).rglob("*.py"):
        for module in imports_of(path):
            for forbidden in FORBIDDEN[shelf]:
                assert module != forbidden, path
                assert not module.startswith(forbidden + "."), path


def test_product_code_never_imports_torchvision():
    for path in [*sources(), *core_sources()]:
        assert not [m for m in imports_of(path) if m.split(".")[0] == "torchvision"], path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    target = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(target),
        str(ROOT),
    ]
    run = subprocess.run(command, capture_output=True, text=True, env=os.environ)
    assert run.returncode == 0, run.stderr
    return next(target.glob("*.whl"))


def test_the_wheel_holds_one_package_and_all_of_it(wheel):
    with zipfile.ZipFile(wheel) as archive:
        files = [name for name in archive.namelist() if ".dist-info/" not in name]
    assert {name.split("/")[0] for name in files} == {"framegate"}
    wanted = {f"framegate/{path.relative_to(ROOT)}" for path in sources()}
    wanted |= {f"framegate/{path.relative_to(ROOT)}" for path in (ROOT / "configs").rglob("*.yaml")}
    core = ROOT / "src/framegate"
    wanted |= {str(path.relative_to(ROOT / "src")) for path in core_sources()}
    wanted |= {str(path.relative_to(ROOT / "src")) for path in (core / "assets").iterdir() if path.is_file()}
    assert wanted <= set(files)
    assert not [name for name in files if "test" in name.split("/")[-1]]


def framegate_presets():
    return str(sorted(path.stem for path in (ROOT / "configs/presets").glob("*.yaml")))


def test_the_wheel_works_outside_the_checkout(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import framegate; "
        f"assert framegate.__file__.startswith({str(tmp_path)!r}); "
        "print(framegate.preset_names(), framegate.load_config('gate').gate.metric)"
    )
    names = framegate_presets()
    assert python(code, cwd=tmp_path) == f"{names} mad"
