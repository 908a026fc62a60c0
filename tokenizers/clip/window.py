"""Clip windows [start_seconds, end_seconds): which frames lie inside, and what to say when none does."""

from __future__ import annotations

import math

import numpy as np

from framegate.errors import FrameError
from framegate.types import Int64Array, VideoInfo

Window = tuple[float | None, float | None]

WHOLE: Window = (None, None)


def check_window(window_seconds: Window) -> tuple[float, float]:
    """Fill in the open ends of a window, -inf and inf, and check its order.

    FrameError for what is not a pair of numbers, NaN, or an end that is not after the start.
    """
    try:
        start, end = window_seconds
        start = -math.inf if start is None else float(start)
        end = math.inf if end is None else float(end)
    except (TypeError, ValueError):
        raise FrameError(
            f"window_seconds is {window_seconds!r}; give (start, end) in seconds, None for an open end."
        ) from None
    if math.isnan(start) or math.isnan(end) or end <= start:
        raise FrameError(
            f"Clip window [{start:g}, {end:g}) seconds is empty; the end must be after the start."
        )
    return start, end


def window_frames(info: VideoInfo, window_seconds: Window = WHOLE) -> Int64Array:
    """Select the frames with start <= time < end, in order of presentation: int64 [F], at least one.

    FrameError for a live source, a bad window, or a window that holds no frame.
    """
    if info.is_live:
        raise FrameError(
            f"{info.source} is live: its frame times are not known beforehand; use live_fps instead."
        )
    start, end = check_window(window_seconds)
    times = info.frame_times_seconds
    inside = np.flatnonzero((times >= start) & (times < end))
    if not len(inside):
        raise FrameError(
            f"Clip window [{start:g}, {end:g}) seconds holds no frame of {info.source or 'the frames'}: "
            f"its {info.num_frames} frames lie between {times[0]:g} and {times[-1]:g} seconds "
            f"(duration {info.duration_seconds:g} seconds)."
        )
    return inside.astype(np.int64)


def window_bounds(info: VideoInfo, inside: Int64Array, window_seconds: Window) -> tuple[float, float]:
    """Cut a window to what the video covers: finite start and end in seconds, not before the first frame."""
    start, end = check_window(window_seconds)
    return max(start, float(info.frame_times_seconds[0])), min(end, info.duration_seconds)
