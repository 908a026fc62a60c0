"""Tables of results, wherever they stand, are what the committed CSVs say."""

import csv

import pytest
import tables
from answers.rows import HEADLINE
from answers.summary import pick
from answers.summary import read as read_answers
from pages import ROOT, pages, tables_in

from framegate.tools.evaluation.generator.asking import KINDS


@pytest.fixture(scope="module")
def generated():
    """What benchmarks/tables.py makes of the CSVs: {title: tables, with the sentences between them}."""
    return {title: make() for title, _, make in [*tables.SECTIONS, *tables.LONG_SECTIONS]}


def test_the_results_page_holds_all_that_the_csvs_say(generated):
    page = (ROOT / "docs/results.md").read_text()
    stale = [title for title, text in generated.items() if text not in page]
    assert stale == [], "run python benchmarks/tables.py"


def test_no_page_shows_other_numbers(generated):
    """A table under a header of the generator's is the generator's, wherever it stands."""
    known = {table for text in generated.values() for table in tables_in(text)}
    headers = {table.splitlines()[0] for table in known}
    shown = {table for page in pages() for table in tables_in(page.read_text())}
    other = [table for table in shown - known if table.splitlines()[0] in headers]
    assert other == [], "run python benchmarks/tables.py"


def test_the_tower_ran_on_exactly_the_kept_cells():
    rows = tables.read("tower/results/tower.csv")
    assert {row["family"] for row in rows} == {"qwen2_vl", "qwen2_5_vl", "qwen3_vl"}
    assert all(row["rows_first_block"] == row["kept_cells_x4"] for row in rows)


def test_the_headline_is_of_the_kinds_that_dense_answers_twice_as_well_as_is_guessed():
    """On the validation split; of two choices it has to be wrong half as often as who guesses."""
    rows = pick(read_answers(), series="budget", split="validation", weights="training_free")
    assert {row["name"] for row in rows} >= {"dense", "no video"}
    right = {}
    for kind in KINDS:
        found = pick(read_answers(), kind=kind, series="budget", split="validation", weights="training_free")
        right[kind] = {row["name"]: float(row["value"]) for row in found}
    good = {
        kind
        for kind, by in right.items()
        if (
            1 - by["dense"] <= (1 - max(by["no video"], 0.5)) / 2
            if kind in ("order", "appears")
            else by["dense"] >= max(2 * by["no video"], 0.1)
        )
    }
    assert good == set(HEADLINE)


def test_every_row_names_the_commit_it_was_measured_at():
    found = {}
    for path in sorted(ROOT.glob("benchmarks/*/results/**/*.csv")):
        if path.name.startswith("golden"):
            continue  # hashes to compare with, no measurements
        with path.open() as file:
            commits = [row["commit"] for row in csv.DictReader(file)]
        found[str(path.relative_to(ROOT))] = bool(commits) and not {"", "unknown"} & set(commits)
    assert len(found) >= 10
    assert [name for name, sound in found.items() if not sound] == []
