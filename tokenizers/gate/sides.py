"""Sides of tokens: 1 for a cell alone, 2 and 4 for areas. What areas do is the wing's, asked only where there are any.

A map of sides int8 [..., H, W] holds 0 where no token is encoded; a token of side d stands at its area's representative
cell. Nothing else in the gate's own files knows `gate/areas`, save the planner of that name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from framegate.types import BoolArray, Float32Array, Int8Array, UInt8Array

if TYPE_CHECKING:
    from framegate.tokenizers.gate.grid import CellGrid

SIDES = (1, 2, 4)


def covered_by(side: Int8Array | BoolArray) -> BoolArray:
    """Cells whose content is encoded by a token of any side: int8 [..., H, W] -> bool [..., H, W]."""
    if not has_areas(side):
        return side == 1
    from framegate.tokenizers.gate.areas.levels import covered_by_areas

    return (side == 1) | covered_by_areas(side)


def has_areas(side: Int8Array | BoolArray) -> bool:
    """Tell whether a token stands for more than one cell."""
    return bool(side.max(initial=0) > 1)


def show_areas(picture: UInt8Array, tube: UInt8Array, side: Int8Array | BoolArray, grid: CellGrid) -> None:
    """Draw a tube's area tokens into the picture shown, in place; see `areas.coarse.show_coarse`."""
    if has_areas(side):
        from framegate.tokenizers.gate.areas.coarse import show_coarse

        show_coarse(picture, tube, side, grid)


def sides_within(
    keep: BoolArray,
    tube: UInt8Array,
    picture: UInt8Array,
    grid: CellGrid,
    *,
    scales: tuple[int, ...],
    threshold: float,
) -> Int8Array:
    """Choose the sides of a tube's tokens, int8 [H, W], 1 where scales hold no other; see `areas.coarse.coarsened`.

    `keep`, bool [H, W], need encoding; `picture` is what is shown, moved cells in place, uint8 [k, h, w]. No cell of an
    area differs by more than the threshold from what it then shows.
    """
    if len(scales) == 1 or np.count_nonzero(keep) < 2:
        return keep.astype(np.int8)
    from framegate.tokenizers.gate.areas.coarse import coarsened

    return coarsened(keep, tube, picture, grid, scales, threshold)


def change_by_token(residual: Float32Array, side: Int8Array) -> Float32Array:
    """Sum the residuals [H, W] of each token's cells at the token's own cell: float32 [H, W]."""
    if not has_areas(side):
        return residual
    from framegate.tokenizers.gate.areas.levels import areas_at, representatives, sums_in

    change = residual.copy()
    for larger in SIDES[1:]:
        row, column = representatives(*change.shape, larger)
        here = areas_at(side, larger)
        change[row, column] = np.where(here, sums_in(residual, larger), change[row, column])
    return change
