"""Clips of a few frames at a constant rate; a long video gets fewer clips, never a lower rate: Apollo's sampler."""

from __future__ import annotations

import math

import numpy as np

from framegate.errors import FrameError
from framegate.settings import Count, PerCall, Positive, checked
from framegate.tokenizers.clip.window import window_bounds, window_frames, windowed
from framegate.tokenizers.samplers._spaced import in_time
from framegate.types import Float64Array, FramePlan, Int64Array, VideoInfo

# Containers round times to milliseconds: 12.001 seconds still are six clips of 2, 29.999 frames per second still 30.
SLACK_SECONDS = 2e-3

# a prompt shows its plans clip by clip
CLIPS = True


@checked
def sample(
    info: VideoInfo,
    *,
    fps: Positive = 2.0,
    clip_frames: Count = 4,
    max_frames: Count | None = None,
    start_seconds: PerCall[float | None] = None,
    end_seconds: PerCall[float | None] = None,
) -> FramePlan:
    """Choose clips of clip_frames frames at fps frames per second, spread over the window; nothing is decoded.

    Args:
        info: a video whose frame times are known.
        fps: rate inside a clip. Frames lie a whole number of the file's frames apart, rounded down, so that the rate
            may be higher; where the file has half of it or less, frames come twice.
        clip_frames: frames of a clip; with 4 at 2 frames per second it spans 2 seconds.
        max_frames: no more than this: fewer clips, further apart, at the same rate; below clip_frames one shorter
            clip. None for as many clips as fit the window. The paper's share r of the clips, from a model's context,
            is this number by its clips'.
        start_seconds: start of the clip window, None for the beginning.
        end_seconds: end of the clip window, None for the end.

    Returns:
        Frames in order of time, group counts clips from 0; a prompt shows each with its first and last time. Clips may
        overlap by part of their length, and then frames of one stand between those of the other. A window shorter than
        a clip is one clip whose last frame repeats.

    Raises:
        ConfigError: a setting out of range.
        FrameError: a live source, a window that holds no frame, or frames that all come at one time.

    Source: Apollo (arXiv 2412.10360) and its released code; by frames' times where the rate varies, max_frames, and
        frames that come twice: ours.
    """
    window = (start_seconds, end_seconds)
    inside, stamped = window_frames(info, window), windowed(info, window)
    start, end = window_bounds(stamped, inside, window)
    times = info.frame_times_seconds[inside]
    wanted = max(1, math.ceil((end - start - SLACK_SECONDS) * fps / clip_frames))
    notes = tuple[str, ...]()
    if max_frames is not None:
        most, wanted_in_all = max(1, max_frames // clip_frames), wanted
        wanted = min(wanted, most)
        short = f", {max_frames} of {clip_frames} frames each" if max_frames < clip_frames else ""
        clip_frames = min(clip_frames, max_frames)
        if short or wanted_in_all > most:
            notes = (f"max_frames {max_frames}: {wanted} of {wanted_in_all} clips{short}",)
    clips = clip_ranks(len(inside), wanted, clip_frames, _step(times, fps, info))
    ranks = in_time(times, clips.ravel()).reshape(clips.shape)
    return FramePlan.from_groups(
        list(inside[ranks]), stamped.frame_times_seconds, notes=notes, time_code="clip"
    )


def _step(times: Float64Array, fps: float, info: VideoInfo) -> float:
    """Frames of the file from one frame of a clip to the next: a whole number, or at most half of one."""
    if len(times) == 1:
        return 1.0
    span_seconds = float(times[-1] - times[0])
    if span_seconds <= 0:
        raise FrameError(
            f"The rate of {info.source or 'the video'} is unknown, for its {len(times)} frames all come at "
            f"{times[0]:g} seconds; give true times, or use sampler 'uniform'."
        )
    step = (len(times) - 1) / span_seconds / fps
    return step if step <= 0.5 else float(max(1, math.floor(step * (1 + SLACK_SECONDS / span_seconds))))


def clip_ranks(num_frames: int, num_clips: int, clip_frames: int, step: float) -> Int64Array:
    """Place clips in a video of constant rate: ranks, int64 [clips, clip_frames].

    Each clip in the middle of its part where parts are longer than clips, else from the first frame to the last; one
    clip where the video is no longer than that.
    """
    offsets = np.floor(np.arange(clip_frames) * step).astype(np.int64)
    length = max(1, int(clip_frames * step))
    part = num_frames // num_clips
    if part > length:
        within = np.clip((part - length) // 2 + offsets, 0, part - 1)
        return np.arange(num_clips)[:, None] * part + within
    if num_frames <= length:
        return np.clip(offsets, 0, num_frames - 1)[None]
    apart = (num_frames - length) // max(1, num_clips - 1)
    return np.arange(num_clips)[:, None] * apart + np.clip(offsets, 0, length - 1)
