"""How far a tube's cells are from what is shown in their place: the three metrics, on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from framegate.errors import FrameError
from framegate.tokenizers.gate.config import Metric, ResidualPool
from framegate.tokenizers.gate.grid import CellGrid
from framegate.types import Float32Array, UInt8Array

Residual = Callable[[UInt8Array, UInt8Array, CellGrid], Float32Array]

SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2
# below the first nothing is a change, above the last nothing is encoded but what must be
THRESHOLD_RANGE: dict[Metric, tuple[float, float]] = {
    "mad": (0.125, 255.0),
    "ssim": (1e-5, 2.0),
    "l2": (1e-3, 1e4),
}
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def residual_of(metric: Metric, pool: ResidualPool = "mean") -> Residual:
    """Look up how cells are compared by the names of GateConfig's settings; pool "max" is that of "mad"."""
    return largest_mad if pool == "max" else {"mad": mad, "ssim": ssim, "l2": l2}[metric]


def mad(tube: UInt8Array, shown: UInt8Array, grid: CellGrid) -> Float32Array:
    """Mean absolute luma difference of each cell: uint8 [k, h, w] twice -> float32 [H, W], sums divided once."""
    return _cell_sums(_difference(tube, shown), grid).astype(np.float32) / np.float32(_cell_values(grid))


def largest_mad(tube: UInt8Array, shown: UInt8Array, grid: CellGrid) -> Float32Array:
    """Mean absolute luma difference of the quarter of each cell that changed most, as `mad`, which it is at least.

    FrameError for cells of an odd side, which have no quarters.
    """
    quarters = mad(tube, shown, quartered(grid))
    return quarters.reshape(grid.rows, 2, grid.columns, 2).max(axis=(1, 3))


def quartered(grid: CellGrid) -> CellGrid:
    """Return the grid of cells a quarter as large.

    Raises:
        FrameError: cells of an odd side.
    """
    if grid.cell_px % 2:
        raise FrameError(
            f'Cells of {grid.cell_px} px have no quarters: set gate.residual_pool to "mean", or cell_px to an even '
            "number."
        )
    return replace(grid, cell_px=grid.cell_px // 2)


def squared(tube: UInt8Array, shown: UInt8Array, grid: CellGrid) -> Float32Array:
    """Squared error of each cell: uint8 [k, h, w] twice -> float32 [H, W], exact sums rounded once."""
    difference = _difference(tube, shown)
    return _cell_sums(cv2.multiply(difference, difference, dtype=cv2.CV_16U), grid).astype(np.float32)


def l2(tube: UInt8Array, shown: UInt8Array, grid: CellGrid) -> Float32Array:
    """Euclidean norm of each cell's difference, in normalised pixel values: uint8 [k, h, w] twice -> float32 [H, W].

    Luma stands for all three channels, so the norm is that of a grey video: each squared difference counts once per
    channel, divided by 255 and by CLIP's standard deviation of that channel.

    Source: the released code of GRT (arXiv 2509.14199), per cell instead of per patch; luma for RGB: ours.
    """
    squares = squared(tube, shown, grid)
    weight = sum((255.0 * deviation) ** -2 for deviation in CLIP_STD)
    return np.sqrt(squares * np.float32(weight))


def ssim(tube: UInt8Array, shown: UInt8Array, grid: CellGrid) -> Float32Array:
    """One minus the structural similarity of each cell, the whole cell being one window: float32 [H, W] in [0, 2].

    Source: GRT (arXiv 2509.14199), released formula with dynamic range 1.
    """
    count, size = float(_cell_values(grid)), 255.0
    first, second = np.ascontiguousarray(tube), np.ascontiguousarray(shown)
    mean_a = _cell_sums(first, grid).astype(np.float64) / (count * size)
    mean_b = _cell_sums(second, grid).astype(np.float64) / (count * size)
    square_a, square_b, product = (
        _cell_sums(_product(a, b), grid).astype(np.float64) / (count * size**2)
        for a, b in ((first, first), (second, second), (first, second))
    )
    variances = square_a - mean_a**2 + square_b - mean_b**2
    covariance = product - mean_a * mean_b
    similarity = (2 * mean_a * mean_b + SSIM_C1) * (2 * covariance + SSIM_C2)
    similarity /= (mean_a**2 + mean_b**2 + SSIM_C1) * (variances + SSIM_C2)
    return np.clip(1.0 - similarity, 0.0, 2.0).astype(np.float32)


def squared_error(tube: UInt8Array, shown: UInt8Array) -> float:
    """Sum of squared differences over a whole tube, uint8 [k, h, w] or [k, h, w, channels]."""
    width = tube.shape[-1]
    return float(cv2.norm(tube.reshape(-1, width), shown.reshape(-1, width), cv2.NORM_L2SQR))


def _cell_values(grid: CellGrid) -> int:
    return grid.tube_frames * grid.cell_px**2


def _difference(tube: UInt8Array, shown: UInt8Array) -> UInt8Array:
    width = tube.shape[-1]
    return cv2.absdiff(tube.reshape(-1, width), shown.reshape(-1, width))  # [k*h, w]


def _product(a: UInt8Array, b: UInt8Array) -> npt.NDArray[np.uint16]:
    width = a.shape[-1]
    return cv2.multiply(a.reshape(-1, width), b.reshape(-1, width), dtype=cv2.CV_16U)


def _cell_sums(values: npt.NDArray[np.unsignedinteger], grid: CellGrid) -> npt.NDArray[np.uint32]:
    """Exact integer sums over each cell: columns first (narrow integers, which vectorise), then inside rows."""
    narrow = np.uint16 if values.dtype == np.uint8 and grid.cell_px <= 256 else np.uint32
    strips = values.reshape(grid.tube_frames * grid.rows, grid.cell_px, grid.width_px)
    columns = np.add.reduce(strips, axis=1, dtype=narrow)  # [k*H, w]
    cells = columns.reshape(grid.tube_frames, grid.rows, grid.columns, grid.cell_px)
    return cells.sum(axis=(0, 3), dtype=np.uint32)  # [H, W]
