"""The cells of a 3 x 3 grid in words: "top left", "upper-left", "r1c1"."""

from __future__ import annotations

import re

_MIDDLE = {"middle": 2, "center": 2, "centre": 2}
_ROWS = {"top": 1, "upper": 1, "bottom": 3, "lower": 3, **_MIDDLE}
_COLUMNS = {"left": 1, "right": 3, **_MIDDLE}
_CELL = re.compile(
    r"\br(?P<row>[1-3])\s*c(?P<column>[1-3])\b"
    r"|\b(?P<side>left|right)[\s_-]*(?P<above>ROWS)\b"
    r"|\b(?P<vertical>ROWS)[\s_-]*(?P<horizontal>COLUMNS)\b"
    r"|\b(?P<alone>ROWS|COLUMNS)\b".replace("ROWS", "|".join(_ROWS)).replace("COLUMNS", "|".join(_COLUMNS))
)


def cell_in(text: str) -> tuple[int, int] | None:
    """Find the one cell that a text names.

    Args:
        text: "top left", "The marker is in the centre.", "r2c3"; case does not count.

    Returns:
        Row and column, 1 to 3; None for a text that names no cell, or different ones.
    """
    named = {_cell(match.groupdict()) for match in _CELL.finditer(text.lower())}
    return named.pop() if len(named) == 1 else None


def _cell(part: dict[str, str | None]) -> tuple[int, int]:
    if part["row"]:
        return int(part["row"]), int(part["column"] or 0)
    row = part["above"] or part["vertical"] or part["alone"] or ""
    column = part["side"] or part["horizontal"] or part["alone"] or ""
    return _ROWS.get(row, 2), _COLUMNS.get(column, 2)
