"""What cameras and codecs do to a picture, for training."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np


def augmented(frames: Any, rng: np.random.Generator) -> Any:
    """Shift brightness and contrast; soften every fourth video.

    Args:
        frames: uint8 [F, h, w, 3].
        rng: draws how much.

    Returns:
        uint8, the same shape.

    Source: ours.
    """
    gain, offset = rng.uniform(0.8, 1.2), rng.uniform(-20, 20)
    shifted = np.clip(frames * np.float32(gain) + np.float32(offset), 0, 255).astype(np.uint8)
    if rng.random() < 0.75:
        return shifted
    return np.stack([cv2.GaussianBlur(frame, (3, 3), 0) for frame in shifted])
