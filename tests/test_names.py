"""One name everywhere: folder = registry key or preset = test file = row of the shelf's README."""

import re
from pathlib import Path

import pytest
from pages import blocks_in

import framegate
from framegate.models.stages.registry import stages
from framegate.models.stages.select import select_rules
from framegate.tokenizers.gate.weights import WEIGHTS
from framegate.tokenizers.samplers import sampler, sampler_names
from framegate.tools.agents.policies import policy_names

ROOT = Path(__file__).parents[1]


def rows(shelf, section=0):
    """Names in the first column of a table of a shelf's README."""
    tables = re.split(r"\n\n", (ROOT / shelf / "README.md").read_text())
    tables = [table for table in tables if table.startswith("|")]
    return set(re.findall(r"^\| `(\w+)`", tables[section], flags=re.MULTILINE))


def folders(shelf):
    """Rooms of a shelf, and rooms of rooms by their first name."""
    return {path.relative_to(ROOT / shelf).parts[0] for path in (ROOT / shelf).glob("*/**/*.py")}


def test_every_file_of_the_shelf_of_tokenizers_has_a_row():
    text = (ROOT / "tokenizers/README.md").read_text()
    files = {path.name for path in (ROOT / "tokenizers").glob("*.py")}
    text = text[: text.index("| sampler |")]
    assert set(re.findall(r"^\| `(\w+\.py)`", text, flags=re.MULTILINE)) == files


@pytest.mark.parametrize("shelf", ["tokenizers", "models", "kernels"])
def test_every_folder_has_a_row(shelf):
    assert rows(shelf) == folders(shelf)


def test_every_preset_has_a_row_and_a_header():
    assert rows("configs") == set(framegate.preset_names())
    for name in framegate.preset_names():
        text = (ROOT / "configs/presets" / f"{name}.yaml").read_text()
        assert text.startswith("# ")
        assert f"--preset {name}" in text


def test_samplers_are_the_rows_of_their_table():
    assert rows("tokenizers", section=2) == set(sampler_names())


def test_stages_are_the_rows_of_their_table_in_the_order_in_which_they_run():
    text = (ROOT / "models/README.md").read_text()
    table = text[text.index("| stage |") : text.index("Stages run in this order")]
    assert re.findall(r"^\| `(\w+)`", table, flags=re.MULTILINE) == list(stages())
    rules = re.findall(r"`(\w+)`", next(line for line in table.splitlines() if "| `select` |" in line))
    assert set(rules[1:]) == set(select_rules())


def test_weights_are_named_where_the_gate_is():
    text = (ROOT / "tokenizers/README.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith("| `weights` |"))
    assert set(re.findall(r"`(\w+)`", row)[1:]) == set(WEIGHTS)


def test_every_file_of_the_gate_has_its_place():
    text = (ROOT / "tokenizers/README.md").read_text()
    text = text[text.index("| in `gate` |") : text.index("A sampler is a file")]
    places = {path.name for path in (ROOT / "tokenizers/gate").glob("[!_]*")}
    rows = re.findall(r"^\| (`.*?) \|", text, flags=re.MULTILINE)
    assert set(re.findall(r"`(\S+)`", " ".join(rows))) == places
    planners = {path.stem for path in (ROOT / "tokenizers/gate/planners").glob("[!_]*.py")}
    assert {name for name in planners if f"`{name}`" not in text} == set()


def test_policies_are_the_rows_of_their_page_and_have_tests():
    text = (ROOT / "docs/agents.md").read_text()
    table = text[text.index("| policy |") :].split("\n\n")[0]
    assert sorted(re.findall(r"^\| `(\w+)`", table, flags=re.MULTILINE)) == policy_names()
    for name in policy_names():
        assert (ROOT / "tests/agents" / f"test_{name}.py").is_file()


@pytest.mark.parametrize("name", sampler_names())
def test_every_sampler_has_a_file_and_tests(name):
    assert (ROOT / "tokenizers/samplers" / f"{name}.py").is_file()
    assert (ROOT / "tests/tokenizers" / f"test_{name}.py").is_file()
    assert callable(sampler(name))


@pytest.mark.parametrize("name", sorted(folders("kernels")))
def test_every_kernel_has_reference_page_and_tests(name):
    assert (ROOT / "kernels" / name / "reference.py").is_file()
    assert (ROOT / "kernels" / name / "README.md").is_file()
    assert (ROOT / "tests/kernels" / f"test_{name}.py").is_file()


def test_the_family_that_is_shown_whole_is_one_of_thirty_lines():
    shown = [
        block for block in blocks_in((ROOT / "docs/extending.md").read_text(), "python") if "FAMILY" in block
    ]
    assert shown == [(ROOT / "models/families/qwen2_vl.py").read_text()]
    assert len(shown[0].splitlines()) <= 30


def test_the_page_of_families_is_what_the_code_says():
    from framegate.models.families_page import markdown_page

    told = "docs/families.md says something else than the code; python -m framegate.models.families_page writes it"
    assert markdown_page() == (ROOT / "docs/families.md").read_text(), told
    assert {row["tower"] for row in framegate.supported_models()} <= {
        path.stem for path in (ROOT / "models/towers").glob("*.py")
    }
