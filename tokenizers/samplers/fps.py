"""Frames at a constant rate: the frame on screen at each point of a time grid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from framegate.settings import Count, PerCall, Positive, checked
from framegate.tokenizers.clip.window import window_bounds, window_frames, windowed
from framegate.tokenizers.samplers import uniform
from framegate.types import FramePlan, VideoInfo

# A grid point this close below a frame's time still takes that frame: 1/30 s has no exact float.
EPSILON_SECONDS = 1e-6
# Finer grids tell no more frames apart.
MAX_FPS = 1e6
DEFAULT_FPS = 2.0


@checked
def sample(
    info: VideoInfo,
    *,
    fps: Positive | None = None,
    max_frames: Count | None = None,
    start_seconds: PerCall[float | None] = None,
    end_seconds: PerCall[float | None] = None,
) -> FramePlan:
    """Choose the frame on screen at start, start + 1/fps, start + 2/fps, ...

    Args:
        info: a video whose frame times are known.
        fps: frames per second, None for 2 (an attached processor that reduces nothing then takes the frames that the
            checkpoint's own processor chooses); above the video's own rate every frame is taken once.
        max_frames: when the grid would take more, this many are spread evenly instead; None for no limit.
        start_seconds: start of the clip window, None for the beginning.
        end_seconds: end of the clip window, None for the end.

    Returns:
        The plan: different frames in order of time, each with its own container time.

    Raises:
        ConfigError: a setting out of range.
        FrameError: a live source, or a window that holds no frame.
    """
    fps, window = fps or DEFAULT_FPS, (start_seconds, end_seconds)
    info, inside = windowed(info, window), window_frames(info, window)
    times = info.frame_times_seconds[inside]
    start, end = window_bounds(info, inside, window)
    # The grid point each frame first shows at: work grows with the frames, not with fps.
    slots = np.ceil((times - start - EPSILON_SECONDS) * min(fps, MAX_FPS))
    slots[0] = 0
    last_of_slot = np.append(slots[1:] > slots[:-1], start + slots[-1] / fps < end - EPSILON_SECONDS)
    chosen = inside[last_of_slot]
    if max_frames is None or len(chosen) <= max_frames:
        return FramePlan.from_indices(chosen, info.frame_times_seconds)
    spread = uniform.sample(info, num_frames=max_frames, start_seconds=start_seconds, end_seconds=end_seconds)
    note = f"fps {fps:g} would take {len(chosen)} frames; max_frames {max_frames} were spread evenly instead"
    return replace(spread, notes=(note,))
