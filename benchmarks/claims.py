"""Figures in sentences and the rows that they rest on: docs/claims.csv, from which docs/claims.md is written.

A line of it names a page, words of that page with the figure in braces, and the row: file below benchmarks, what the
row has in its columns ("series=budget; name=gate"), and the column that holds the figure. `benchmarks/tables.py` writes
the page, tests/test_results.py holds words to pages and figures to rows.
"""

import csv
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = ("page", "words", "csv", "where", "column")
# what makes a number of a sentence a measurement
FIGURE = re.compile(r"(?<![\w.-])\.\d{2,3}\b|\b\d+\.\d+ dB")
# their tables are written from CSVs, their sentences by those who measured
WRITTEN = ("docs/results.md", "docs/claims.md")


@dataclass(frozen=True)
class Claim:
    """A figure in a sentence.

    Args:
        page: its file, from the top of the repository.
        words: of the page, the figure in braces.
        csv: the file below benchmarks.
        where: what the row has, "column=value; column=value".
        column: which column of it the figure is.
    """

    page: str
    words: str
    csv: str
    where: str
    column: str

    @property
    def figure(self):
        """The figure as it is printed."""
        return re.search(r"\{(.+?)\}", self.words)[1]

    @property
    def plain(self):
        """The words without braces."""
        return re.sub(r"\{(.+?)\}", r"\1", self.words)

    @property
    def place(self):
        """Where the figure stands in the page, whose white space counts as one blank; None where it does not."""
        text = page_text(self.page)
        start = text.find(self.plain)
        return None if start < 0 else start + self.words.index("{")

    def row(self):
        """The one row that it rests on; ValueError where there are none or several."""
        wanted = [part.strip().split("=", 1) for part in self.where.split(";")]
        found = [row for row in rows_of(self.csv) if all(row[name] == value for name, value in wanted)]
        if len(found) != 1:
            raise ValueError(f"{len(found)} rows of {self.csv} have {self.where}; a claim rests on one.")
        return found[0]

    def agrees(self):
        """Whether the row's value, rounded as the figure is, is the figure."""
        number = re.search(r"-?\d*\.?\d+", self.figure)[0]
        decimals = len(number.partition(".")[2])
        value = float(self.row()[self.column]) * (100 if "%" in self.figure else 1)
        return abs(value - float(number)) <= 0.5 * 10**-decimals + 1e-9


@cache
def rows_of(name):
    """Rows of a CSV below benchmarks."""
    with (ROOT / "benchmarks" / name).open(newline="") as file:
        return tuple(csv.DictReader(file))


def page_text(page):
    """A page in one line."""
    return " ".join((ROOT / page).read_text().split())


def unclaimed():
    """Figures of pages that no claim covers, each with the words around it."""
    places = {(claim.page, claim.place) for claim in read()}
    pages = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md"))]
    return [
        f"{page}: {text[max(match.start() - 40, 0) : match.end() + 20]}"
        for page, text in ((page, page_text(page)) for page in pages if page not in WRITTEN)
        for match in FIGURE.finditer(text)
        if (page, match.start()) not in places
    ]


def read():
    """All claims, in the order of the file."""
    with (ROOT / "docs/claims.csv").open(newline="") as file:
        return [Claim(**line) for line in csv.DictReader(file)]


def claims_page(table):
    """The text of docs/claims.md; `table` makes Markdown of a header and rows."""
    body = []
    for claim in read():
        row = claim.row()
        words = re.sub(r"\{(.+?)\}", r"**\1**", claim.words).replace("|", "\\|")
        measured = f"`{row['command']}`, " if row.get("command") else ""
        body.append(
            [
                claim.page,
                words,
                f"`{claim.csv}`: {claim.where}",
                claim.column,
                f"{measured}at {row['commit']}",
            ]
        )
    return (
        "# Claims\n\nFigures in sentences, the rows that they rest on, and how those were measured. Written by `python "
        "benchmarks/tables.py` from `docs/claims.csv`; `tests/test_results.py` holds words to pages, figures to rows, "
        "and finds figures (shares as `.598`, decibels) that no line claims. The README's table and those of "
        "[results](results.md) are written from CSVs, each with its command.\n\n"
        + table(["page", "words", "row, below `benchmarks`", "column", "measured"], body)
    )
