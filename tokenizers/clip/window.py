"""Clip windows [start_seconds, end_seconds): which frames are on screen in them, and what to say when none is."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from framegate.errors import FrameError
from framegate.types import Int64Array, VideoInfo

Window = tuple[float | None, float | None]

WHOLE: Window = (None, None)
# a window that starts this close before a frame starts with it: 1/30 s has no exact float
EPSILON_SECONDS = 1e-6


def check_window(window_seconds: Window) -> tuple[float, float]:
    """Fill in the open ends of a window, -inf and inf, and check its order.

    FrameError for what is not a pair of numbers, NaN, or an end that is not after the start.
    """
    try:
        start, end = window_seconds
        if isinstance(start, str) or isinstance(end, str):
            raise TypeError
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
    """Select the frames that are on screen in [start, end), in order of presentation: int64 [F], at least one.

    The first of them may have come on before the start; `windowed` stamps it with the start.

    FrameError for a live source, a bad window, or a window in which no frame is on screen.
    """
    if info.is_live:
        raise FrameError(
            f"{info.source} is live: its frame times are not known beforehand; use live_fps instead."
        )
    start, end = check_window(window_seconds)
    times = info.frame_times_seconds
    if not len(times):
        raise FrameError(f"{info.source or 'The video'} has no frame to choose from.")
    first = max(0, _on_screen(info, start))
    inside = np.arange(first, int(np.searchsorted(times, end, side="left")))
    if not len(inside) or start >= info.duration_seconds:
        raise FrameError(
            f"Clip window [{start:g}, {end:g}) seconds holds no frame of {info.source or 'the frames'}: "
            f"its {info.num_frames} frames lie between {times[0]:g} and {times[-1]:g} seconds "
            f"(duration {info.duration_seconds:g} seconds)."
        )
    return inside.astype(np.int64)


def windowed(info: VideoInfo, window_seconds: Window = WHOLE) -> VideoInfo:
    """Stamp the frame that is on screen at a window's start with that time, for plans and frames to go by.

    FrameError as `window_frames` raises it.
    """
    first = int(window_frames(info, window_seconds)[0])
    start, _ = check_window(window_seconds)
    if info.frame_times_seconds[first] >= start:
        return info
    times = info.frame_times_seconds.copy()
    times[first] = start
    return replace(info, frame_times_seconds=times)


def _on_screen(info: VideoInfo, moment_seconds: float) -> int:
    """Number of the frame on screen at a moment, the last of several that come on at once; -1 before the first."""
    ranks = np.searchsorted(info.frame_times_seconds, moment_seconds + EPSILON_SECONDS, side="right")
    return int(ranks) - 1


def window_end_seconds(info: VideoInfo, window_seconds: Window) -> float | None:
    """Say when a video, or its window, ends; None where nobody knows it, as of a live source."""
    return min(check_window(window_seconds)[1], info.duration_seconds) if info.duration_seconds > 0 else None


def window_bounds(info: VideoInfo, inside: Int64Array, window_seconds: Window) -> tuple[float, float]:
    """Cut a window to what the video covers: finite start and end in seconds, not before the first frame."""
    start, end = check_window(window_seconds)
    return max(start, float(info.frame_times_seconds[0])), min(end, info.duration_seconds)
