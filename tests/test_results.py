"""Tables of results, wherever they stand, are what the committed CSVs say."""

import csv

import claims
import csv_tables
import pytest
import tables
from answers.rows import CHANCE, HEADLINE
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
    stale += [
        title for title, reading in tables.READINGS.items() if f"## {title}\n\n**{reading}**" not in page
    ]
    assert stale == [], "run python benchmarks/tables.py"


def test_no_page_shows_other_numbers(generated):
    """A table under a header of the generator's is the generator's, wherever it stands."""
    known = {table for text in generated.values() for table in tables_in(text)}
    headers = {table.splitlines()[0] for table in known}
    shown = {table for page in pages() for table in tables_in(page.read_text())}
    other = [table for table in shown - known if table.splitlines()[0] in headers]
    assert other == [], "run python benchmarks/tables.py"


def test_the_tower_ran_on_exactly_the_kept_cells():
    rows = csv_tables.read("tower/results/tower.csv")
    assert {row["family"] for row in rows} == {"qwen2_vl", "qwen2_5_vl", "qwen3_vl"}
    assert all(row["rows_first_block"] == row["kept_cells_x4"] for row in rows)


def test_the_headline_is_of_the_kinds_that_dense_answers_twice_as_well_as_chance():
    """On the validation split; of two choices it has to be wrong half as often as who guesses."""
    validation = {"series": "budget", "split": "validation", "weights": "training_free"}
    good = set()
    for kind in KINDS:
        found = pick(read_answers(), kind=kind, **validation)
        right = {row["name"]: float(row["value"]) for row in found}
        chance = max(right["no video"], CHANCE.get(kind, 0.05))
        is_good = 1 - right["dense"] <= (1 - chance) / 2 if chance >= 0.5 else right["dense"] >= 2 * chance
        good |= {kind} if is_good else set()
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


def test_figures_in_sentences_are_those_of_their_rows():
    found = claims.read()
    assert len(found) > 60
    assert [claim.words for claim in found if claim.place is None] == [], "the page says it in other words"
    assert [claim.words for claim in found if not claim.agrees()] == []


def test_no_page_has_a_figure_without_a_row():
    assert claims.unclaimed() == [], "give it a line in docs/claims.csv"


def test_the_page_of_claims_is_what_the_lines_say():
    page = (ROOT / "docs/claims.md").read_text()
    assert page == claims.claims_page(tables.table), "run python benchmarks/tables.py"


def test_a_claim_that_rests_on_no_row_or_another_figure_is_told():
    good = claims.read()[0]
    assert not claims.Claim(good.page, "| {.599} |", good.csv, good.where, good.column).agrees()
    with pytest.raises(ValueError, match="0 rows of .* a claim rests on one"):
        claims.Claim(good.page, good.words, good.csv, "name=nobody", good.column).row()
