"""The results page and the README's numbers are what the committed CSVs say."""

import csv
from pathlib import Path

import pytest
import tables

ROOT = Path(__file__).parents[1]


def test_pages_are_generated_from_the_csvs():
    assert (ROOT / "docs/results.md").read_text() == tables.results_page()
    assert (ROOT / "README.md").read_text() == tables.readme_page()
    assert tables.BEGIN in tables.readme_page()


def test_the_tower_ran_on_exactly_the_kept_cells():
    rows = tables.read("tower/results/tower.csv")
    assert {row["family"] for row in rows} == {"qwen2_vl", "qwen2_5_vl", "qwen3_vl"}
    assert all(row["rows_first_block"] == row["kept_cells_x4"] for row in rows)


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("benchmarks/*/results/**/*.csv")), ids=lambda path: path.name
)
def test_every_row_names_the_commit_it_was_measured_at(path):
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert rows
    assert all(row["commit"] not in ("", "unknown") for row in rows)
