"""What a notebook shows: reports, plans and tables as small pieces of HTML, all text escaped; and progress bars."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

_BAR_PX, _GAP_PX, _HEIGHT_PX = 8, 1, 40
# orange is "encoded" in every picture of framegate
_ENCODED = "#e8710a"
_MOST_BARS = 240


class Rows(list[dict[str, Any]]):
    """A list of dicts with the same keys, which a notebook shows as a table."""

    def _repr_html_(self) -> str:
        columns = list(self[0]) if self else []
        return html_table(columns, ([_spelled(row[name]) for name in columns] for row in self))


def no_bar(shown: bool) -> bool | None:
    """Say what tqdm's `disable` is: bars are drawn on a terminal and in a notebook, whose output is no terminal."""
    if not shown:
        return True
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return False if shell is not None and "IPKernelApp" in shell.config else None


def html_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Make a table; what is in its cells is text."""
    head = "".join(f"<th style='text-align: left'>{escape(name)}</th>" for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td style='text-align: left'>{escape(text)}</td>" for text in row) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def html_notes(headline: str, notes: Iterable[str]) -> str:
    """Make a line in bold, where it has words, and a list of notes, where there are any."""
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    line = f"<p><b>{escape(headline)}</b></p>" if headline else ""
    return line + (f"<ul>{items}</ul>" if items else "")


def html_bars(shares: Sequence[float], labels: Sequence[str], title: str) -> str:
    """Draw a share from 0 to 1 for each step of time, as an SVG; every n-th of more than 240."""
    stride = -(-len(shares) // _MOST_BARS)
    bars = "".join(
        f"<rect x='{number * _BAR_PX}' y='{_HEIGHT_PX * (1 - share):.1f}' width='{_BAR_PX - _GAP_PX}' "
        f"height='{_HEIGHT_PX * share:.1f}' fill='{_ENCODED}'><title>{escape(label)}</title></rect>"
        for number, (share, label) in enumerate(zip(shares[::stride], labels[::stride], strict=True))
    )
    width = _BAR_PX * -(-len(shares) // stride)
    return (
        f"<svg role='img' aria-label='{escape(title)}' width='{width}' height='{_HEIGHT_PX}' "
        f"style='border-bottom: 1px solid currentColor; max-width: 100%'>{bars}</svg>"
    )


def _spelled(value: Any) -> str:
    """A value as a cell holds it: lists without brackets."""
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
