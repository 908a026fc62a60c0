"""Rules for which cells are encoded, in place of the motion gate's own: one file each, found by its name.

A rule's file says `BASELINE` (a rival's), `COMPARES` (it reads pixels, in colour), `THRESHOLD` (a cell is encoded when
its score is above this and there is no budget; None where there is no such number) and has a function
`score(before, after, rng) -> [H, W]`. Adding a rule touches nothing else. What a budget pays for are the cells of the
highest scores, unless the file has a `keep(scores, tokens) -> bool [T, H, W]` of its own.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from framegate.errors import ConfigError, nearest

if TYPE_CHECKING:
    from numpy.random import Generator

    from framegate.types import BoolArray, UInt8Array

    Score = Callable[[UInt8Array, UInt8Array, Generator], Any]
    Keep = Callable[[Any, int], BoolArray]


@dataclass(frozen=True, kw_only=True)
class CellRule:
    """What a rule's file says.

    Args:
        baseline: a rival's, there to be compared with.
        compares: cells are compared with the tube before, in colour, and all of the first tube are encoded; else the
            rule does not look at pixels at all.
        threshold: decides where there is no budget; None where a budget (or, for a rule that compares, a threshold of
            one's own) is needed.
        score: how much the cells of a tube ask to be encoded: cells of the tube before and of this one, uint8
            [H, W, k, cell, cell, ...], and the configuration's random numbers -> [H, W].
        keep: cells that a budget pays for, from scores [T, H, W] and tokens; None for those of the highest scores.
    """

    baseline: bool
    compares: bool
    threshold: float | None
    score: Score
    keep: Keep | None


def cell_rule_names() -> list[str]:
    """List the rules by the names of their files, sorted."""
    return sorted(found.name for found in pkgutil.iter_modules(__path__))


@cache
def cell_rule(name: str) -> CellRule:
    """Look a rule up; this alone imports its file.

    Args:
        name: of its file.

    Returns:
        What its file says.

    Raises:
        ConfigError: no rule of that name; the message names the nearest one.
    """
    if name not in cell_rule_names():
        raise ConfigError(f"Unknown cell rule {name!r}. {nearest(str(name), cell_rule_names())}")
    file: Any = import_module(f"{__name__}.{name}")
    return CellRule(
        baseline=file.BASELINE,
        compares=file.COMPARES,
        threshold=file.THRESHOLD,
        score=file.score,
        keep=getattr(file, "keep", None),
    )
