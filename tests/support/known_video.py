"""What is known of a video that does not exist: enough for samplers that look at no pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from framegate.types import VideoInfo

NTSC = 30000 / 1001


def known_video(times_seconds: Any, *, tail_seconds: float = 0.1) -> VideoInfo:
    """A file with frames at these times, float [F], the last of them shown for tail_seconds."""
    times = np.asarray(times_seconds, np.float64)
    return VideoInfo(
        source="clip.mp4",
        width_px=1280,
        height_px=720,
        frame_times_seconds=times,
        duration_seconds=float(times[-1]) + tail_seconds if len(times) else 0.0,
        codec="h264",
    )


def steady_video(num_frames: int, fps: float) -> VideoInfo:
    """A file at a constant rate."""
    return known_video(np.arange(num_frames) / fps, tail_seconds=1 / fps)
