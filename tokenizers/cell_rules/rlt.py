"""RLT: is a token's last frame what the token before began with?"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator

from framegate.types import Float64Array, UInt8Array

BASELINE = True
COMPARES = True
# 0.1, the released configuration's, in levels of 255; that its pixels are normalised by ImageNet's deviations, as is
# usual for VideoMAE, is assumed
THRESHOLD: float | None = 0.1 * 255 * (0.229 + 0.224 + 0.225) / 3


def score(before: UInt8Array, after: UInt8Array, rng: Generator) -> Float64Array:
    """Compare the first frame of the tube before with the last frame of this one, in RGB.

    Args:
        before: cells of the tube before, uint8 [H, W, k, cell, cell, 3].
        after: cells of the tube, likewise.
        rng: not read.

    Returns:
        Mean absolute difference, float64 [H, W] in [0, 255].

    Source: RLT (arXiv 2411.05222), section on static patches; per cell (2 x 2 patches in Qwen-VL) instead of per patch,
        and without its run-length embedding, which needs training.
    """
    return mean_difference(before[:, :, :1], after[:, :, -1:])


def mean_difference(before: UInt8Array, after: UInt8Array) -> Float64Array:
    """Average the absolute differences of all values of each cell: uint8 [H, W, ...] twice -> [H, W] in [0, 255]."""
    rows, columns = after.shape[:2]
    flat = [np.ascontiguousarray(cells).reshape(rows, -1) for cells in (before, after)]
    difference: Float64Array = cv2.absdiff(*flat).reshape(rows, columns, -1).mean(-1)
    return difference
