"""Coarse tokens: what they show, and where a tube may use them within a threshold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from framegate.tokenizers.gate.areas.levels import (
    areas_at,
    cells_in,
    level_frames,
    level_shape,
    mark,
    raised,
    sums_in,
)
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.residual import mad
from framegate.tokenizers.gate.sides import SIDES, covered_by
from framegate.types import BoolArray, Int8Array, UInt8Array


def level_grid(grid: CellGrid, side: int) -> CellGrid:
    """Return the grid of level frames: one cell per area."""
    rows, columns = level_shape(grid.rows, grid.columns, side)
    return replace(grid, height_px=rows * grid.cell_px, width_px=columns * grid.cell_px)


def show_coarse(picture: UInt8Array, tube: UInt8Array, scale: Int8Array | BoolArray, grid: CellGrid) -> None:
    """Draw the coarse tokens of a tube into the picture shown, in place.

    An area shows its level frame's cell, raised bicubically. What surrounds it there is what is shown around it:
    no pixel is used that no token stands behind. Larger areas come last and border on the smaller ones.

    Args:
        picture: uint8 [k, h, w] or [k, h, w, 3], with the tube's fine and moved cells already in place.
        tube: the tube's own frames, same shape.
        scale: sides at representative cells, int8 [H, W].
        grid: geometry.
    """
    for side in SIDES[1:]:
        areas = areas_at(scale, side)
        if areas.any():
            part, here = _around(areas, grid, side)
            size = side * grid.cell_px
            pixels = (slice(None), *(slice(span.start * size, span.stop * size) for span in part))
            level = _level_shown(picture[pixels], tube[pixels], areas[part], here, side)
            cells = cells_in(areas, grid.rows, grid.columns, side)
            inside = cells_in(areas[part], here.rows, here.columns, side)
            grid.cells_of(picture)[cells] = here.cells_of(raised(level, here, side))[inside]


def _around(areas: BoolArray, grid: CellGrid, side: int) -> tuple[tuple[slice, slice], CellGrid]:
    """The part of a frame that areas lie in and border on: spans of areas, down and across, and its grid."""
    spans = []
    for axis, limit in enumerate(areas.shape):
        found = np.flatnonzero(areas.any(axis=1 - axis))
        spans.append(slice(max(0, int(found[0]) - 1), min(limit, int(found[-1]) + 2)))
    down, across = spans
    rows = min(down.stop * side, grid.rows) - down.start * side
    columns = min(across.stop * side, grid.columns) - across.start * side
    here = replace(grid, height_px=rows * grid.cell_px, width_px=columns * grid.cell_px)
    return (down, across), here


def _level_shown(
    picture: UInt8Array, tube: UInt8Array, areas: BoolArray, grid: CellGrid, side: int
) -> UInt8Array:
    """The level frame with areas that are not encoded taken from the picture shown."""
    own = level_frames(tube, grid, side)
    if areas.all():
        return own
    level = level_frames(picture, grid, side)
    small = level_grid(grid, side)
    small.cells_of(level)[areas] = small.cells_of(own)[areas]
    return level


def coarsened(
    keep: BoolArray,
    tube: UInt8Array,
    picture: UInt8Array,
    grid: CellGrid,
    scales: tuple[int, ...],
    threshold: float,
) -> Int8Array:
    """Replace kept cells by coarse tokens wherever that saves tokens and stays within the threshold.

    Args:
        keep: cells that need encoding, bool [H, W].
        tube: uint8 [k, h, w] luma.
        picture: what is shown, moved cells in place, uint8 [k, h, w].
        grid: geometry.
        scales: sides that tokens may have.
        threshold: no cell of a coarse area differs by more (mean absolute difference) from what it then shows.

    Returns:
        Sides at representative cells, int8 [H, W].
    """
    scale = _cheapest(keep, tube, grid, scales, threshold)
    while (scale > 1).any():
        drawn = picture.copy()
        grid.cells_of(drawn)[scale == 1] = grid.cells_of(tube)[scale == 1]
        show_coarse(drawn, tube, scale, grid)
        missed = (mad(tube, drawn, grid) > threshold) & covered_by(scale)
        if not missed.any():
            break
        scale = _refined(scale, missed, keep)
    return scale


def _cheapest(
    keep: BoolArray, tube: UInt8Array, grid: CellGrid, scales: tuple[int, ...], threshold: float
) -> Int8Array:
    """The quadtree with the fewest tokens, as if every area were surrounded by its own level."""
    tokens = keep.astype(np.int32)
    scale, last = keep.astype(np.int8), 1
    too_detailed = np.zeros(keep.shape, np.int32)
    for side in scales[1:]:
        tokens = sums_in(tokens, side // last)  # [rows_d, columns_d]
        # What is too detailed for half the resolution is so for a quarter.
        several = (tokens > 1) & (sums_in(too_detailed, side // last) == 0)
        if not several.any():
            break
        part, here = _around(several, grid, side)
        size = side * grid.cell_px
        frames = tube[
            :, part[0].start * size : part[0].stop * size, part[1].start * size : part[1].stop * size
        ]
        shown = raised(level_frames(frames, here, side), here, side)
        too_far = sums_in((mad(frames, shown, here) > threshold).astype(np.int32), side)
        areas = several.copy()
        areas[part] &= too_far == 0
        scale[cells_in(areas, grid.rows, grid.columns, side)] = 0
        mark(scale, areas, side)
        tokens[areas] = 1
        too_detailed, last = (several & ~areas).astype(np.int32), side
    return scale


def _refined(scale: Int8Array, missed: BoolArray, keep: BoolArray) -> Int8Array:
    """Give the areas in which a cell was missed back to the cells that asked for encoding."""
    refined = scale.copy()
    for side in SIDES[1:]:
        broken = areas_at(scale, side) & (sums_in(missed.astype(np.int32), side) > 0)
        cells = cells_in(broken, scale.shape[0], scale.shape[1], side)
        refined[cells] = keep[cells]
    return refined
