"""Spending what is left of an exact budget on a mixed plan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from framegate.tokenizers.gate.areas.levels import (
    areas_at,
    cells_in,
    mark,
    sums_in,
)
from framegate.tokenizers.gate.plan import GatePlan
from framegate.tokenizers.gate.sides import covered_by
from framegate.tokenizers.gate.spending import filled as spent_on_cells
from framegate.tokenizers.gate.spending import highest
from framegate.types import BoolArray, Float32Array, Int8Array


def filled(
    run: GatePlan, budget_tokens: int, scales: tuple[int, ...], lost: Float32Array, forced: BoolArray
) -> GatePlan | None:
    """Add tokens to a run until it has exactly so many.

    Uncovered cells come first, by residual; then coarse areas fall into smaller ones, by what they lose. Where
    parts do not add up, one area too many falls apart and as many fine tokens that changed least are given back.

    Args:
        run: at most budget_tokens tokens, with residuals.
        budget_tokens: tokens to encode, fewer than the cells.
        scales: sides that tokens may have, rising from 1.
        lost: squared error of encoding each cell at each level, float32 [L, T, H, W].
        forced: tubes that stay covered whole, bool [T].

    Returns:
        The run; None where no such plan is found.
    """
    if run.num_kept == budget_tokens:
        return run
    scale = spent_on_cells(run, budget_tokens).side.copy()
    for level in range(len(scales) - 1, 0, -1):
        left = budget_tokens - int(np.count_nonzero(scale))
        _split(scale, left, scales[level], scales[level - 1], lost[level])
    if not _evened(scale, budget_tokens, scales, run.residual, forced):
        return None
    return replace(run, side=scale, moved=run.moved & ~covered_by(scale))


def _gains(shape: tuple[int, ...], side: int, smaller: int) -> npt.NDArray[np.int64]:
    """Tokens that splitting each area adds: int64 [rows_d, columns_d]."""
    parts = sums_in(np.ones(shape[-2:], np.int64), smaller) > 0
    return sums_in(parts.astype(np.int64), side // smaller) - 1


def _split(scale: Int8Array, left: int, side: int, smaller: int, lost: Float32Array) -> None:
    """Let areas of a side fall into smaller ones, those that lose most per token first, while tokens are left."""
    areas = areas_at(scale, side)
    gains = np.broadcast_to(_gains(scale.shape, side, smaller), areas.shape)
    worth = np.where(areas, sums_in(lost, side) / np.maximum(gains, 1), np.float32(-1))
    falling = np.zeros_like(areas)
    for place in highest(worth, int(areas.sum())):
        if gains.flat[place] <= left:
            falling.flat[place] = True
            left -= int(gains.flat[place])
    _fall(scale, falling, side, smaller)


def _fall(scale: Int8Array, falling: BoolArray, side: int, smaller: int) -> None:
    cells = cells_in(falling, scale.shape[-2], scale.shape[-1], side)
    scale[cells] = 0
    parts = sums_in(cells.astype(np.int64), smaller) > 0
    mark(scale, parts, smaller)


def _evened(
    scale: Int8Array, budget_tokens: int, scales: tuple[int, ...], residual: Float32Array, forced: BoolArray
) -> bool:
    """Split one more area and give back what that is too much; True when the budget is met."""
    left = budget_tokens - int(np.count_nonzero(scale))
    if left == 0:
        return True
    for level in range(1, len(scales)):
        areas = areas_at(scale, scales[level])
        if areas.any():
            falling = np.zeros_like(areas)
            falling.flat[int(np.argmax(areas))] = True
            _fall(scale, falling, scales[level], scales[level - 1])
            break
    surplus = int(np.count_nonzero(scale)) - budget_tokens
    spare = (scale == 1) & ~forced[:, None, None]
    if surplus < 0 or surplus > spare.sum():
        return False
    scale.flat[highest(np.where(spare, -residual, -np.inf), surplus)] = 0
    return True
