"""Which encoded cell stands for each cell, and where in its tube it lies."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.shown import block_centres, moved_blocks
from framegate.types import BoolArray, Float32Array, Int32Array

NEVER_SHOWN = -1


def traced_anchors(
    keep: BoolArray, moved: BoolArray, camera_motion: Float32Array, grid: CellGrid
) -> tuple[Int32Array, Float32Array]:
    """Trace what every cell shows back to where it was encoded; arrays [T, H, W], motion float32 [T, k, 2, 3].

    Tube that encoded each cell's content, int32 [T, H, W], -1 for cells never shown; and the displacement (x, y) in px
    from the cell to that content, float32 [T, H, W, 2]. Under camera motion the middle block of the cell's first frame
    speaks for the cell; the place it names always lies in a cell that its tube encoded.
    """
    if not moved.any():
        return _held_anchors(keep), np.zeros((*keep.shape, 2), np.float32)
    anchor = np.empty(keep.shape, np.int32)
    displacement = np.zeros((*keep.shape, 2), np.float32)
    origins = _Origins(grid)
    for tube in range(len(keep)):
        origins.step(tube, keep[tube], moved[tube], camera_motion[tube])
        anchor[tube], displacement[tube] = origins.summary()
    return anchor, displacement


def _held_anchors(keep: BoolArray) -> Int32Array:
    """Tube that encoded what each cell shows where nothing moves: bool [T, H, W] -> int32, -1 for never shown."""
    tubes = np.arange(len(keep), dtype=np.int32)[:, None, None]
    return np.maximum.accumulate(np.where(keep, tubes, np.int32(NEVER_SHOWN)), axis=0)


class _Origins:
    """Per block: the tube and cell that encoded what it shows, and the offset to that place."""

    def __init__(self, grid: CellGrid) -> None:
        self._grid = grid
        self._centre_x, self._centre_y = block_centres(grid)
        self._tube = np.full(grid.block_shape, NEVER_SHOWN, np.int32)
        self._cell = np.zeros(grid.block_shape, np.int32)
        self._x = np.zeros(grid.block_shape, np.float32)
        self._y = np.zeros(grid.block_shape, np.float32)
        _, rows, columns = grid.block_shape
        per_cell = grid.cell_px // grid.block_px
        own = np.arange(rows)[:, None] // per_cell * grid.columns + np.arange(columns) // per_cell
        self._own_cell = own.astype(np.int32)[None]

    def step(self, tube: int, keep: BoolArray, moved: BoolArray, motion: Float32Array) -> None:
        if moved.any():
            place = moved_blocks(motion, self._grid)
            blocks = self._grid.blocks_of(moved)
            x = place.x - self._centre_x + np.take(self._x, place.index)
            y = place.y - self._centre_y + np.take(self._y, place.index)
            self._set(blocks, np.take(self._tube, place.index), np.take(self._cell, place.index), x, y)
        zero = np.float32(0)
        self._set(self._grid.blocks_of(keep), np.int32(tube), self._own_cell, zero, zero)

    def _set(
        self, blocks: BoolArray, tube: npt.ArrayLike, cell: npt.ArrayLike, x: npt.ArrayLike, y: npt.ArrayLike
    ) -> None:
        for kept, value in ((self._tube, tube), (self._cell, cell), (self._x, x), (self._y, y)):
            np.copyto(kept, value, where=blocks)

    def summary(self) -> tuple[Int32Array, Float32Array]:
        grid = self._grid
        middle = (grid.cell_px // grid.block_px) // 2
        step = grid.cell_px // grid.block_px
        pick = (0, slice(middle, None, step), slice(middle, None, step))
        row, column = np.divmod(self._cell[pick], grid.columns)
        cell_row, cell_column = np.indices((grid.rows, grid.columns))
        x = self._within(self._x[pick], cell_column, column)
        y = self._within(self._y[pick], cell_row, row)
        shown = self._tube[pick] != NEVER_SHOWN
        return self._tube[pick], np.stack([x, y], axis=-1) * shown[..., None]

    def _within(
        self, offset: Float32Array, cell: npt.NDArray[np.int_], origin: npt.NDArray[np.int_]
    ) -> Float32Array:
        """Keep the cell's centre, displaced, inside the cell that encoded it: warps may miss it by part of a block."""
        whole = (origin - cell) * self._grid.cell_px
        slack = (self._grid.cell_px - 1) / 2
        return np.clip(offset, whole - slack, whole + slack).astype(np.float32)
