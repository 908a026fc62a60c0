"""The layout: shelves at the top level, one package in the wheel, nothing that shadows another package."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from importlib import import_module
from pathlib import Path

import pytest
from import_graph import SHELVES, product_files

ROOT = Path(__file__).parents[1]

# what a file may need that the tests do not install
NOT_INSTALLED = ("lmms_eval", "vllm")


def run_whole(command, **options):
    """What a command prints, run outside of the checkout's own folders on the path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, **({"env": environment} | options)
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


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


def test_every_file_imports_as_framegate():
    culprits = {}
    for name in product_files():
        try:
            import_module(name)
        except Exception as error:
            if getattr(error, "name", None) not in NOT_INSTALLED:
                culprits[name] = error
    assert culprits == {}


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


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    target = tmp_path_factory.mktemp("wheel")
    # two workers may build at once: neither in the checkout's own build folder
    places = target / "places.cfg"
    places.write_text(
        f"[build]\nbuild_base = {target / 'build'}\n[bdist_wheel]\nbdist_dir = {target / 'bdist'}\n"
    )
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
    environment = os.environ | {"DIST_EXTRA_CONFIG": str(places)}
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr
    return next(target.glob("*.whl"))


def test_the_wheel_holds_one_package_and_all_of_it(wheel):
    with zipfile.ZipFile(wheel) as archive:
        files = [name for name in archive.namelist() if ".dist-info/" not in name]
    assert {name.split("/")[0] for name in files} == {"framegate"}
    files_of = [*product_files().values(), *(ROOT / "configs").rglob("*.yaml")]
    files_of += [path for path in (ROOT / "src/framegate/assets").iterdir() if path.is_file()]
    wanted = {str(path.relative_to(ROOT)) for path in files_of}
    wanted = {f"framegate/{name.removeprefix('src/framegate/')}" for name in wanted}
    assert wanted <= set(files)
    assert not [name for name in files if name.split("/")[-1].startswith(("test_", "conftest"))]


def test_the_floor_is_the_lowest_transformers_that_installs():
    (lowest,) = re.findall(r'"transformers>=([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert f'"transformers=={lowest}.*"' in (ROOT / "Makefile").read_text()


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


@pytest.mark.slow
def test_the_sdist_makes_the_same_wheel(wheel, tmp_path):
    """It holds files where the checkout has links, so that it installs where links cannot be made."""
    run_whole([sys.executable, "-m", "build", "--sdist", "--outdir", tmp_path, ROOT])
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        assert not [member.name for member in archive if member.issym() or member.islnk()]
    run_whole([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, sdist])
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as mine, zipfile.ZipFile(wheel) as checkouts:
        assert set(mine.namelist()) == set(checkouts.namelist())


@pytest.mark.slow
def test_a_checkout_without_links_makes_the_same_wheel(wheel, tmp_path):
    """As on Windows, where git writes what a link leads to as a file of text."""
    left_out = shutil.ignore_patterns(".*", "out", "build", "*.egg-info", "benchmarks", "docs", "tests")
    checkout = shutil.copytree(ROOT, tmp_path / "checkout", symlinks=True, ignore=left_out)
    for shelf in SHELVES:
        link = checkout / "src/framegate" / shelf
        link.unlink()
        link.write_text(f"../../{shelf}")
    run_whole(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, checkout]
    )
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as mine, zipfile.ZipFile(wheel) as linked:
        assert set(mine.namelist()) == set(linked.namelist())


@pytest.mark.slow
def test_the_installed_wheel_has_its_commands_presets_and_model(wheel, tmp_path):
    """In an environment of its own, with this one's packages behind it and without the checkout."""
    run_whole([sys.executable, "-m", "venv", tmp_path / "bare"])
    bare = tmp_path / "bare/bin"
    run_whole([bare / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel])
    (packages,) = (tmp_path / "bare/lib").glob("*/site-packages")
    # with its own .pth files, on which the shim for torchvision rests
    (packages / "others.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})")
    assert run_whole([bare / "framegate", "--version"]).startswith("framegate ")
    place = run_whole([bare / "python", "-c", "import framegate; print(framegate.__file__)"]).strip()
    assert Path(place).is_relative_to(tmp_path)
    clip = Path(place).parent / "assets/codes.mp4"
    question = "What text stands at 4.9 seconds?"
    for words in (
        ["plan", clip, "--preset", "grt"],
        ["run", clip, question, "--fps", "4", "--keep-ratio", "0.25"],
    ):
        account = json.loads(run_whole([bare / "python", "-m", "framegate", *words, "--json"]))
    assert account["runs"]["framegate"]["answer"] == "7HP"
