"""Frames spread evenly over time: one from the middle of each of num_frames equal segments."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from framegate.settings import Count, PerCall, checked
from framegate.tokenizers.clip.window import window_bounds, window_frames, windowed
from framegate.tokenizers.samplers._spaced import made_distinct
from framegate.types import FramePlan, Int64Array, VideoInfo


@checked
def sample(
    info: VideoInfo,
    *,
    num_frames: Count,
    max_frames: Count | None = None,
    start_seconds: PerCall[float | None] = None,
    end_seconds: PerCall[float | None] = None,
) -> FramePlan:
    """Choose frames spread evenly over time, by container time stamps.

    Args:
        info: a video whose frame times are known.
        num_frames: number of frames; all frames once when the window holds no more.
        max_frames: no more than this, None for no limit.
        start_seconds: start of the clip window, None for the beginning.
        end_seconds: end of the clip window, None for the end.

    Returns:
        The plan: min(num_frames, max_frames, frames of the window) different frames in order of time, at the centres of
        segments of time, as TSN's test-time sampling takes centres of segments of indices.

    Raises:
        ConfigError: a setting out of range.
        FrameError: a live source, or a window that holds no frame.
    """
    window = (start_seconds, end_seconds)
    info, inside = windowed(info, window), window_frames(info, window)
    count = min(num_frames, max_frames or num_frames, len(inside))
    start, end = window_bounds(info, inside, window)
    centres = start + (np.arange(count) + 0.5) * (end - start) / count
    ranks = _shown_at(info.frame_times_seconds[inside], centres)
    plan = FramePlan.from_indices(inside[made_distinct(ranks, len(inside))], info.frame_times_seconds)
    if count == min(num_frames, len(inside)):
        return plan
    return replace(plan, notes=(f"max_frames {max_frames}: fewer than num_frames {num_frames}",))


def _shown_at(times_seconds: np.ndarray, moments_seconds: np.ndarray) -> Int64Array:
    """Rank of the frame on screen at each moment, the first one before any is."""
    ranks = np.searchsorted(times_seconds, moments_seconds, side="right") - 1
    return np.maximum(ranks, 0).astype(np.int64)
