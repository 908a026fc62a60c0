"""Mean absolute difference per cell, which two of the rules go by."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from framegate.types import UInt8Array


def mean_difference(before: UInt8Array, after: UInt8Array) -> npt.NDArray[np.float64]:
    """Average the absolute differences of all values of each cell: uint8 [H, W, ...] twice -> [H, W] in [0, 255]."""
    rows, columns = after.shape[:2]
    flat = [np.ascontiguousarray(cells).reshape(rows, -1) for cells in (before, after)]
    difference: npt.NDArray[np.float64] = cv2.absdiff(*flat).reshape(rows, columns, -1).mean(-1)
    return difference
