"""docs/families.md, written from the families and from what is refused."""

from __future__ import annotations

from collections.abc import Iterable

from framegate.models.families import Family, families
from framegate.models.unsupported import REFUSED

_SERVED_COLUMNS = (
    "family",
    "class",
    "transformers",
    "tower",
    "positions",
    "times in the prompt, and who writes them",
    "saved where",
    "anchored",
    "notes",
)


def markdown_page() -> str:
    """Write the page; a test holds the file to it.

    Returns:
        Markdown: a row per family, and a row per class that is refused.
    """
    return f"""\
# Families

Written by `python -m framegate.models.families_page > docs/families.md`. The rows are `framegate.supported_models()`
and `framegate.supported_models(refused=True)`. Every family is held to one contract on a tiny random model of its stock
class (`tests/models/test_families.py`): ratio 1 is the stock model, skipped cells enter no block of the tower,
`generate`, batches, training, saving. [One file](extending.md#a-family) adds another.

## {len(families())} classes are served

{_table(_SERVED_COLUMNS, map(_served_cells, families().values()))}

Saved where: in the tower, which encodes fewer patches, and in the prompt, which holds fewer tokens. Anchored: skipped
cells may give kept ones keys (`context: anchored`).

## {len(REFUSED)} classes are refused

They read videos, and `attach`, `framegate.from_pretrained` and `framegate doctor --model` refuse them with these words.
`tests/models/test_unsupported.py` walks the files of transformers and fails on a class that is in neither table.

{_table(("class", "why", "what comes closest"), map(_refused_cells, REFUSED))}
"""


def _served_cells(family: Family) -> tuple[str, ...]:
    names = (f"`{family.model_type}`", f"`{family.model_class}`")
    needs = (f">= {family.lowest_transformers}", *family.needs)
    anchored = "yes" if "anchored" in family.contexts else "no"
    how = (f"`{family.tower}`", family.positions, family.timestamps, ", ".join(family.saves), anchored)
    return (*names, ", ".join(needs), *how, family.notes)


def _refused_cells(name: str) -> tuple[str, ...]:
    reason, closest = REFUSED[name]
    return f"`{name}`", reason, f"`{closest}`" if closest else ""


def _table(columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (columns, ("---",) * len(columns), *rows)
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    print(markdown_page(), end="")
