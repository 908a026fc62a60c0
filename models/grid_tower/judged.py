"""Frames at the size at which the gate judges them."""

from __future__ import annotations

import cv2
import numpy as np

from framegate.models.grid_tower.geometry import JudgedSize
from framegate.types import UInt8Array


def judged_frame(frame: UInt8Array, size: JudgedSize) -> UInt8Array:
    """Crop a frame to what the tower sees and scale it to whole cells.

    Args:
        frame: uint8 [h, w] or [h, w, 3], at tower size.
        size: the crop and the scale.

    Returns:
        uint8 [judged_px, judged_px] or [judged_px, judged_px, 3].

    Source: ours.
    """
    seen = frame[: size.seen_px, : size.seen_px]
    if size.judged_px == size.seen_px:
        return np.ascontiguousarray(seen)
    scaled: UInt8Array = cv2.resize(seen, (size.judged_px, size.judged_px), interpolation=cv2.INTER_LINEAR)
    return scaled
