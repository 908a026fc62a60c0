"""How a prompt tells the times of what a plan chose: a text per clip, a number per frame, or seconds in the pixels."""

from __future__ import annotations

import math

import cv2
import numpy as np

from framegate.types import FramePlan, UInt8Array

# of the shorter side of a frame, and red, as LOVE-R1 draws its seconds
_HEIGHT_SHARE = 1 / 8
_RED = (255, 0, 0)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_MARGIN_SHARE = 0.25


def clip_text(clip: FramePlan) -> str:
    """Write from when to when a clip shows.

    Args:
        clip: its frames.

    Returns:
        For example "12.0 to 14.5 seconds:".

    Source: a text per clip is Apollo's (arXiv 2412.10360) and LOVE-R1's (arXiv 2509.24786); the words are ours.
    """
    first, last = clip.timestamps_seconds[[0, -1]]
    return f"{first:.1f} to {last:.1f} seconds:"


def frame_text(clip: FramePlan) -> str:
    """Write the number of a clip's first frame in its file.

    Args:
        clip: one frame.

    Returns:
        For example "frame 120:".

    Source: FrameThinker (arXiv 2509.24304).
    """
    return f"frame {clip.indices[0]}:"


def burned(frame: UInt8Array, time_seconds: float) -> UInt8Array:
    """Draw the whole second of a frame into its bottom right corner.

    Args:
        frame: uint8 [h, w, 3], or [h, w].
        time_seconds: its time.

    Returns:
        A copy with the stamp, as high as an eighth of the shorter side.

    Source: LOVE-R1 (arXiv 2509.24786); the font is ours.
    """
    shown = np.ascontiguousarray(frame).copy()
    height_px = min(shown.shape[:2]) * _HEIGHT_SHARE
    text = str(math.floor(time_seconds + 1e-6))
    (_, unit_px), _ = cv2.getTextSize(text, _FONT, 1.0, 1)
    scale, thickness = height_px / unit_px, max(round(height_px / 8), 1)
    (width_px, _), _ = cv2.getTextSize(text, _FONT, scale, thickness)
    margin_px = round(height_px * _MARGIN_SHARE)
    place = (shown.shape[1] - width_px - margin_px, shown.shape[0] - margin_px)
    colour = _RED if shown.ndim == 3 else int(round(0.299 * _RED[0]))
    cv2.putText(shown, text, place, _FONT, scale, colour, thickness, cv2.LINE_AA)
    return shown
