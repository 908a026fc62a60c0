"""Levels of resolution: frames of which one cell of pixels stands for an area of d x d cells.

Areas are aligned to the grid's origin and clipped by it at the right and lower border. A token of side d is noted at
its area's representative cell, so a map of sides, `scale` [H, W], is all that a plan needs.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.sides import SIDES
from framegate.types import BoolArray, Int8Array, UInt8Array

Value = TypeVar("Value", bound=np.generic)


def level_shape(rows: int, columns: int, side: int) -> tuple[int, int]:
    """Count the areas of a grid, clipped ones included.

    Args:
        rows: cells from top to bottom, H.
        columns: cells from left to right, W.
        side: cells along an area's side, d.

    Returns:
        Rows and columns of areas: ceil(H / d), ceil(W / d).
    """
    return -(-rows // side), -(-columns // side)


def level_frames(frames: UInt8Array, grid: CellGrid, side: int) -> UInt8Array:
    """Reduce frames so that each area of side x side cells becomes one cell of pixels.

    Args:
        frames: uint8 [F, h, w] or [F, h, w, 3], of the grid's size.
        grid: geometry.
        side: cells along an area's side; 1 gives the frames themselves.

    Returns:
        uint8 [F, h_d, w_d] or [F, h_d, w_d, 3], with h_d, w_d = level_shape(H, W, side) * cell_px. Areas that the
        grid clips repeat the frame's last row or column.

    Source: the light and strong ratios (2 and 4) of KFFocus (arXiv 2508.08989), on pixels.
    """
    if side == 1:
        return frames
    rows, columns = level_shape(grid.rows, grid.columns, side)
    size = (columns * grid.cell_px, rows * grid.cell_px)  # cv2 says (width, height)
    below, right = size[1] * side - grid.height_px, size[0] * side - grid.width_px
    reduced = np.empty((len(frames), size[1], size[0], *frames.shape[3:]), np.uint8)
    for number, frame in enumerate(frames):
        if below or right:
            frame = cv2.copyMakeBorder(frame, 0, below, 0, right, cv2.BORDER_REPLICATE)
        cv2.resize(frame, size, dst=reduced[number], interpolation=cv2.INTER_AREA)
    return reduced


def raised(level: UInt8Array, grid: CellGrid, side: int) -> UInt8Array:
    """Show level frames [F, h_d, w_d] or [F, h_d, w_d, 3] at the grid's size, bicubic: [F, h, w] or [F, h, w, 3]."""
    if side == 1:
        return level
    size = (level.shape[2] * side, level.shape[1] * side)
    shown = [cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC) for frame in level]
    return np.stack(shown)[:, : grid.height_px, : grid.width_px]


@lru_cache(maxsize=32)
def representatives(rows: int, columns: int, side: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The cell at which each area's token is noted: rows [rows_d, 1] and columns [1, columns_d], for indexing."""
    down, across = level_shape(rows, columns, side)
    middle = (side - 1) // 2
    row = np.minimum(np.arange(down) * side + middle, rows - 1)
    column = np.minimum(np.arange(across) * side + middle, columns - 1)
    return row[:, None], column[None, :]


def areas_at(scale: Int8Array | BoolArray, side: int) -> BoolArray:
    """Which areas of a side are encoded: int8 [..., H, W] -> bool [..., rows_d, columns_d]."""
    row, column = representatives(scale.shape[-2], scale.shape[-1], side)
    areas: BoolArray = scale[..., row, column] == side
    return areas


def mark(scale: Int8Array, areas: BoolArray, side: int) -> None:
    """Note tokens of a side at the representative cells of areas [..., rows_d, columns_d], in place."""
    row, column = representatives(scale.shape[-2], scale.shape[-1], side)
    there = scale[..., row, column]
    scale[..., row, column] = np.where(areas, np.int8(side), there)


def cells_in(areas: npt.NDArray[Value], rows: int, columns: int, side: int) -> npt.NDArray[Value]:
    """Spread areas [..., rows_d, columns_d] to their cells [..., H, W]."""
    if side == 1:
        return areas
    return areas.repeat(side, axis=-2).repeat(side, axis=-1)[..., :rows, :columns]


def covered_by_areas(scale: Int8Array | BoolArray) -> BoolArray:
    """Cells that a token of side 2 or 4 stands for: int8 [..., H, W] -> bool [..., H, W]."""
    covered = np.zeros(scale.shape, bool)
    for side in SIDES[1:]:
        areas = areas_at(scale, side)
        if areas.any():
            covered |= cells_in(areas, scale.shape[-2], scale.shape[-1], side)
    return covered


def sums_in(values: npt.NDArray[Value], side: int) -> npt.NDArray[Value]:
    """Sum cells [..., H, W] over the areas of a side: [..., rows_d, columns_d]."""
    if side == 1:
        return values
    rows, columns = (np.arange(0, size, side) for size in values.shape[-2:])
    total: npt.NDArray[Value] = np.add.reduceat(np.add.reduceat(values, rows, axis=-2), columns, axis=-1)
    return total
