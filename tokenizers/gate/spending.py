"""Spending an exact budget: what it leaves no room for, and who gets what is left. All planners share it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from framegate.tokenizers.gate.config import GateConfig
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.plan import GatePlan
from framegate.types import BoolArray, UInt8Array


def affordable_rules(
    config: GateConfig, budget_cells: int, tube_cells: int, forced: BoolArray
) -> tuple[BoolArray, GateConfig, tuple[str, ...]]:
    """Relax what the budget leaves no room for: max_age_tubes first, then the codec's keyframes.

    `tube_cells` are those of one tube. Forced tubes, bool [T], and configuration that fit the budget, and a note on
    each rule that was relaxed.
    """
    room, notes = budget_cells // tube_cells, []
    if int(forced.sum()) > room:
        dropped = np.flatnonzero(forced)[room:]
        forced = forced.copy()
        forced[dropped] = False
        notes.append(
            f"{len(dropped)} codec keyframes stood aside: the budget has room for {room} whole tubes"
        )
    if config.max_age_tubes is not None and refreshes(forced, config.max_age_tubes) > room:
        ages = range(config.max_age_tubes + 1, len(forced) + 1)
        fitting = next((age for age in ages if refreshes(forced, age) <= room), None)
        relaxed = "stood aside" if fitting is None else f"was relaxed to {fitting}"
        notes.append(f"max_age_tubes {config.max_age_tubes} {relaxed}: the budget comes first")
        config = replace(config, max_age_tubes=fitting)
    return forced, config, tuple(notes)


def refreshes(forced: BoolArray, max_age_tubes: int) -> int:
    """Tubes that are encoded whole when nothing changes."""
    count, age = 0, 0
    for whole in forced:
        age = 0 if whole or age >= max_age_tubes else age
        count += age == 0
        age += 1
    return count


def first_tube_only(
    luma: UInt8Array,
    grid: CellGrid,
    config: GateConfig,
    budget_cells: int,
    forced: BoolArray | None = None,
) -> GatePlan:
    """Less than one tube: the cells of the first with the most contrast, ties to the earlier one; notes tell what is
    left out.

    Of luma, uint8 [T, k, h, w], only the first tube's pixels are read; forced tubes, bool [T], and rules are for the
    notes.
    """
    contrast = grid.cells_of(luma[0]).reshape(grid.num_cells, -1).astype(np.float32).std(axis=1)
    keep = np.zeros((len(luma), grid.rows, grid.columns), bool)
    keep[0] = highest(contrast, budget_cells).reshape(keep[0].shape)
    notes = _notes_of_one_tube(grid, config, budget_cells, forced)
    return replace(GatePlan.still(keep, grid), notes=notes)


def _notes_of_one_tube(
    grid: CellGrid, config: GateConfig, budget_cells: int, forced: BoolArray | None
) -> tuple[str, ...]:
    """Say what a budget of one tube or less leaves out."""
    codec = 0 if forced is None else int(forced.sum()) - 1
    notes = [
        f"the budget is {budget_cells} cells and one tube holds {grid.num_cells}: only the first tube is encoded, "
        "its cells of most contrast; later content is not shown"
    ]
    if codec > 0:
        notes.append(f"{codec} codec keyframes stood aside: the budget comes first")
    if config.max_age_tubes is not None:
        notes.append(f"max_age_tubes {config.max_age_tubes} stood aside: the budget comes first")
    return tuple(notes)


def filled(plan: GatePlan, budget_cells: int) -> GatePlan:
    """Spend what is left on the skipped cells with the highest residual, ties to the earlier one."""
    left = budget_cells - plan.num_kept
    assert left >= 0
    if left == 0:
        return plan
    keep = plan.keep | highest(plan.residual, left, among=~plan.keep)
    return replace(plan, keep=keep, moved=plan.moved & ~keep)


def highest(scores: npt.NDArray[np.floating], count: int, *, among: BoolArray | None = None) -> BoolArray:
    """Choose the highest scores, ties to the earlier one.

    Args:
        scores: at least one number, of any shape; nothing but one copy is made of it, for clips are long.
        count: how many.
        among: bool, which may be chosen; None for all.

    Returns:
        bool, of the same shape; all that may be chosen where that is no more than count.
    """
    pool = scores.flatten() if among is None else scores[among]
    if count >= pool.size:
        return np.ones(scores.shape, bool) if among is None else among.copy()
    if count < 1:
        return np.zeros(scores.shape, bool)
    pool.partition(pool.size - count)
    lowest = pool[pool.size - count]
    del pool
    chosen, tied = scores > lowest, scores == lowest
    if among is not None:
        chosen &= among
        tied &= among
    room = count - int(np.count_nonzero(chosen))
    rows = tied.reshape(len(tied), -1)
    so_far = np.cumsum(np.count_nonzero(rows, axis=1))
    last = int(np.searchsorted(so_far, room))
    rows[last + 1 :] = False
    own = np.flatnonzero(rows[last])
    rows[last, own[len(own) - (so_far[last] - room) :]] = False
    chosen |= tied
    return chosen
