"""One frame of every clip of so many frames: DLE's frame skipping."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from framegate.settings import Count, PerCall, checked
from framegate.tokenizers.clip.window import window_frames, windowed
from framegate.types import FramePlan, VideoInfo


@checked
def sample(
    info: VideoInfo,
    *,
    clip_frames: Count = 30,
    pick: Literal["first", "centre", "last"] = "last",
    max_frames: Count | None = None,
    start_seconds: PerCall[float | None] = None,
    end_seconds: PerCall[float | None] = None,
) -> FramePlan:
    """Cut the window into clips of equal length and choose one frame of each, by count; nothing is decoded.

    Args:
        info: a video whose frame times are known.
        clip_frames: length of a clip in frames of the file.
        pick: which frame of a clip; of an even number "centre" is the later of the two in the middle.
        max_frames: where there are more clips, so many of them spread evenly are used; None for no limit.
        start_seconds: start of the clip window, None for the beginning.
        end_seconds: end of the clip window, None for the end.

    Returns:
        Different frames in order of time. A last clip that is not full is dropped; a window shorter than one clip is
        one clip, and a note says so.

    Raises:
        ConfigError: a setting out of range.
        FrameError: a live source, or a window that holds no frame.

    Source: DLE (arXiv 2307.02858): "last" as its code does, "first" as its page says; "centre", max_frames and short
        windows are ours.
    """
    window = (start_seconds, end_seconds)
    inside, notes = window_frames(info, window), tuple[str, ...]()
    if len(inside) < clip_frames:
        notes = (
            f"the window's {len(inside)} frames are less than a clip of {clip_frames}: they are one clip",
        )
        clip_frames = len(inside)
    place = {"first": 0, "centre": clip_frames // 2, "last": clip_frames - 1}[pick]
    chosen = inside[np.arange(len(inside) // clip_frames) * clip_frames + place]
    if max_frames is not None and len(chosen) > max_frames:
        notes = (f"max_frames {max_frames}: evenly spread of {len(chosen)} clips of {clip_frames} frames",)
        chosen = chosen[((np.arange(max_frames) + 0.5) * len(chosen) / max_frames).astype(np.int64)]
    return replace(FramePlan.from_indices(chosen, windowed(info, window).frame_times_seconds), notes=notes)
