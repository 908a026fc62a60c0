"""What holding costs, by level: squared errors of showing in tube t what was encoded, fine or coarse, in tube s.

Errors are estimates from a quarter of the pixels, spread over all rows and columns: unlike those of a reduced frame
they hold the finest detail, which is what coarse tokens lose.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from framegate.tokenizers.gate.areas.levels import level_frames, raised
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.residual import squared
from framegate.types import Float32Array, UInt8Array

LARGE_CELL_PX = 16
# OpenBLAS runs products up to this size on one thread: small ones lose more by waiting for each other than they gain.
LONE_THREAD_PRODUCTS = 2**18
# One pixel of each row of a 4 x 4 block, each in a column of its own.
SAMPLED_COLUMNS = (0, 2, 1, 3)


@dataclass(frozen=True)
class LevelSamples:
    """Some pixels of a clip as each level shows them.

    Args:
        pixels: uint8 [L, T, planes, H * c, W * c], level by level, finest first; cells are c x c in each plane.
        rows: cells from top to bottom, H.
        columns: cells from left to right, W.
        weight: pixels of the frame that one of them stands for.
    """

    pixels: UInt8Array
    rows: int
    columns: int
    weight: int

    @property
    def tubes(self) -> int:
        """Tubes, T."""
        return self.pixels.shape[1]

    def thinner(self) -> LevelSamples:
        """A quarter of the samples, where they are plenty."""
        planes = self.pixels.shape[2]
        if self.weight == 1 or planes % len(SAMPLED_COLUMNS):
            return self
        some = np.arange(planes) % len(SAMPLED_COLUMNS) == 0
        return replace(self, pixels=self.pixels[:, :, some], weight=self.weight * len(SAMPLED_COLUMNS))


def sampled(luma: UInt8Array, grid: CellGrid, scales: tuple[int, ...]) -> LevelSamples:
    """Draw a clip at every level, as if whole tubes were encoded at it, and keep a sample of the pixels.

    Args:
        luma: uint8 [T, k, h, w].
        grid: geometry of these frames.
        scales: sides of the levels, rising from 1.

    Returns:
        The samples.
    """
    thin = grid.cell_px >= LARGE_CELL_PX and grid.cell_px % len(SAMPLED_COLUMNS) == 0
    step = len(SAMPLED_COLUMNS) if thin else 1
    height, width = grid.height_px // step, grid.width_px // step
    pixels = np.empty((len(scales), len(luma), step * grid.tube_frames, height, width), np.uint8)
    for tube, frames in enumerate(luma):
        for level, side in enumerate(scales):
            shown = raised(level_frames(frames, grid, side), grid, side)
            pixels[level, tube] = _thinned(shown) if thin else shown
    return LevelSamples(pixels, grid.rows, grid.columns, step)


def level_errors(samples: LevelSamples) -> Float32Array:
    """What encoding at each level loses, squared: float32 [L, T, H, W], zero for the finest."""
    levels, tubes, planes, height, width = samples.pixels.shape
    cell = height // samples.rows
    grid = CellGrid(cell_px=cell, tube_frames=planes, height_px=height, width_px=width, block_px=1)
    errors = np.zeros((levels, tubes, samples.rows, samples.columns), np.float32)
    for level in range(1, levels):
        for tube, truth in enumerate(samples.pixels[0]):
            errors[level, tube] = squared(truth, samples.pixels[level, tube], grid)
    return errors * np.float32(samples.weight)


def _thinned(frames: UInt8Array) -> UInt8Array:
    """Keep a quarter of the pixels: uint8 [k, h, w] -> [4 * k, h / 4, w / 4]."""
    step = len(SAMPLED_COLUMNS)
    rows = [frames[:, row::step, column::step] for row, column in enumerate(SAMPLED_COLUMNS)]
    return np.concatenate(rows)


def histories(samples: LevelSamples, rows: slice, tubes: slice, side: int) -> UInt8Array:
    """Gather the pixels of some rows of cells through some tubes.

    Args:
        samples: the clip's.
        rows: rows of cells; stop may lie beyond the grid.
        tubes: which tubes.
        side: columns are filled up to a multiple of this; so is the number of rows given.

    Returns:
        uint8 [L, H' * W', T, pixels]; cells beyond the grid are zero.
    """
    cell, columns = samples.pixels.shape[3] // samples.rows, samples.columns
    part = samples.pixels[:, tubes, :, rows.start * cell : rows.stop * cell]
    levels, count, planes, height, _ = part.shape
    inside = height // cell
    split = part.reshape(levels, count, planes, inside, cell, columns, cell)
    padded = (levels, rows.stop - rows.start, -(-columns // side) * side, count, planes, cell, cell)
    cells = np.zeros(padded, np.uint8)
    cells[:, :inside, :columns] = split.transpose(0, 3, 5, 1, 2, 4, 6)  # [L, H', W', T, planes, c, c]
    return cells.reshape(levels, -1, count, planes * cell * cell)


def hold_errors(history: UInt8Array, weight: int) -> Float32Array:
    """Sum up what holding costs.

    Args:
        history: uint8 [L, C, T, pixels].
        weight: what each squared difference counts.

    Returns:
        float32 [T + 1, L, C, T]: at [e, l, c, s] the error of showing in tubes s to e - 1 of cell c what level l
        encoded in tube s; zero where e <= s.
    """
    levels, cells, tubes, pixels = history.shape
    errors = np.empty((tubes + 1, levels, cells, tubes), np.float32)
    errors[0] = 0
    step = max(2, LONE_THREAD_PRODUCTS // max(1, pixels * levels * tubes))
    for cell in range(cells):
        there = history[:, cell].astype(np.float32).reshape(levels * tubes, pixels)
        there -= there[0].copy()
        there *= np.float32(weight**0.5)
        truth, shown = _as_product(there[:tubes], there)
        for start in range(0, tubes, step):
            end = min(start + step, tubes)
            block = (truth[start:end] @ shown).reshape(-1, levels, tubes)  # [t, l, s]
            np.maximum(block, 0.0, out=errors[start + 1 : end + 1, :, cell])
    for end in range(1, tubes + 1):
        errors[end, :, :, : end - 1] += errors[end - 1, :, :, : end - 1]
        errors[end, :, :, end:] = 0
    return errors


def _as_product(one: Float32Array, other: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Write squared distances as a product: [m, p], [n, p] -> [m, p + 2], [p + 2, n]."""
    left = np.empty((len(one), one.shape[1] + 2), np.float32)
    right = np.empty((other.shape[1] + 2, len(other)), np.float32)
    np.multiply(one, -2.0, out=left[:, :-2])
    left[:, -2], left[:, -1] = np.einsum("ip,ip->i", one, one), 1.0
    right[:-2] = other.T
    right[-2], right[-1] = 1.0, np.einsum("ip,ip->i", other, other)
    return left, right


def carried_errors(held: UInt8Array, history: UInt8Array, weight: int) -> Float32Array:
    """Sum up what showing earlier content costs: [P, C, pixels] in [L, C, T, pixels] -> float32 [T + 1, P, C]."""
    plans, cells, _ = held.shape
    errors = np.zeros((history.shape[2] + 1, plans, cells), np.float32)
    for cell in range(cells):
        truth = history[0, cell].astype(np.float32)
        first = truth[0].copy()
        left, right = _as_product(truth - first, held[:, cell] - first)
        np.maximum(left @ right, 0.0, out=errors[1:, :, cell])
    errors *= np.float32(weight)
    return np.cumsum(errors, axis=0, out=errors)
