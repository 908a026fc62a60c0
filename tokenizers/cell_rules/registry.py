"""From a rule's name to its decisions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module

import numpy as np
import numpy.typing as npt

from framegate.errors import ConfigError, nearest
from framegate.tokenizers.cell_rules.names import CELL_RULES, CellRule
from framegate.types import UInt8Array

Scores = npt.NDArray[np.floating]
Distance = Callable[[UInt8Array, UInt8Array], Scores]


def cell_rule(name: str) -> CellRule:
    """Look a rule up.

    Args:
        name: its key in `CELL_RULES`, the name of its file.

    Returns:
        What is known of it.

    Raises:
        ConfigError: no rule of that name; the message names the nearest one.

    Source: ours.
    """
    if name not in CELL_RULES:
        raise ConfigError(f"Unknown cell rule {name!r}. {nearest(str(name), CELL_RULES)}")
    return CELL_RULES[name]


def distance_of(name: str) -> Distance:
    """Look up how a rule compares the cells of a tube with those of the tube before.

    Args:
        name: a rule that compares.

    Returns:
        Function of two uint8 [H, W, k, cell, cell, 3], before and after, that gives [H, W].

    Source: ours.
    """
    distance: Distance = import_module(f"framegate.tokenizers.cell_rules.{name}").distance
    return distance


def cell_scores(name: str, tubes: Iterable[UInt8Array]) -> npt.NDArray[np.float64]:
    """Score every cell of a clip by a rule that compares; two tubes are in memory at a time.

    Args:
        name: "rlt", "evs" or "dtd".
        tubes: cells of each tube in order, uint8 [H, W, k, cell, cell, 3].

    Returns:
        float64 [T, H, W]: infinite in the first tube, which has nothing to be compared with.

    Raises:
        ConfigError: no rule of that name, or one that compares nothing.

    Source: ours; each rule names its own.
    """
    if not cell_rule(name).compares:
        raise ConfigError(f"Cell rule {name!r} compares nothing, so it scores no cells.")
    distance, scores = distance_of(name), []
    before: UInt8Array | None = None
    for cells in tubes:
        scores.append(np.full(cells.shape[:2], np.inf) if before is None else distance(before, cells))
        before = cells
    return np.stack(scores).astype(np.float64)
