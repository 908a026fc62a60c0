"""Fine contrast before smooth change: letters and edges count, slow light and shadows hardly."""

from __future__ import annotations

import cv2
import numpy as np

from framegate.types import UInt8Array

# keeps about as many cells of a still or panning street as 4.0 does of plain luma
DEFAULT_THRESHOLD = 2.0
POWER, DIVISOR, MIDDLE = 1.5, 8.0, 128
# Reducing by block means and enlarging bilinearly blur by as much as one pixel does: of sigma 3 px that leaves sqrt(2)
# px at half the size, in parts of 256.
_KERNEL = np.array([1, 8, 27, 56, 72, 56, 27, 8, 1], np.float32)
_HIGH = np.arange(256.0) - MIDDLE
_TABLE = np.clip(np.round(MIDDLE + np.sign(_HIGH) * np.abs(_HIGH) ** POWER / DIVISOR), 0, 255).astype(
    np.uint8
)


def weigh(luma: UInt8Array) -> UInt8Array:
    """Raise what differs from its surroundings.

    With h = luma - blurred luma (Gaussian, sigma 3 px) this is 128 + sign(h) |h|^1.5 / 8, clipped. The blur is taken at
    half the size: on natural frames 99 % of the pixels are within one grey level of the formula, most of the others at
    the border, at a quarter of the time.

    Args:
        luma: uint8 [h, w].

    Returns:
        uint8 [h, w], 128 where nothing stands out.
    """
    size = (luma.shape[1], luma.shape[0])
    half = (max(1, size[0] // 2), max(1, size[1] // 2))
    small = cv2.resize(luma, half, interpolation=cv2.INTER_AREA)
    raised = cv2.resize(_blurred(small), size, interpolation=cv2.INTER_LINEAR)
    # In place, for fresh memory costs as much as the arithmetic. Beyond +-101 levels the formula clips, so that a
    # difference saturated at +-128 loses nothing.
    cv2.addWeighted(luma, 1.0, raised, -1.0, MIDDLE, dst=raised)
    cv2.LUT(raised, _TABLE, dst=raised)
    return raised


def _blurred(small: UInt8Array) -> UInt8Array:
    """Blur with the kernel, halves rounded up: what OpenCV's GaussianBlur gives, to the last bit, sooner.

    Every sum is exact in float32: whole numbers up to 255 * 2 ** 16, less 2 ** 23, and one half, which leaves no tie.
    """
    sums = cv2.sepFilter2D(small, cv2.CV_32F, _KERNEL, _KERNEL, delta=0.5 - 2.0**23)
    sums *= np.float32(2.0**-16)
    np.rint(sums, out=sums)
    # -128 to 127, moved up by 128
    return sums.astype(np.int8).view(np.uint8) ^ np.uint8(128)
