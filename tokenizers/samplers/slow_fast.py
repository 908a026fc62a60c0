"""The whole video small, and intervals of it large: LOVE-R1's plan of two resolutions."""

from __future__ import annotations

import math

import numpy as np

from framegate.errors import ConfigError, FrameError
from framegate.settings import Count, PerCall, Positive, Share, checked
from framegate.tokenizers.clip.window import EPSILON_SECONDS, window_bounds, window_frames, windowed
from framegate.tokenizers.samplers._spaced import evenly
from framegate.types import Float64Array, FramePlan, VideoInfo

Interval = tuple[float, float]

# 32 tokens of a fast frame to 256 of a slow one
FAST_SCALE = math.sqrt(32 / 256)

# a prompt shows its plans clip by clip
CLIPS = True


@checked
def sample(
    info: VideoInfo,
    *,
    fps: Positive = 2.0,
    fast_frames: Count = 768,
    fast_scale: Share = FAST_SCALE,
    slow_frames: Count = 32,
    max_frames: Count | None = None,
    intervals: PerCall[tuple[Interval, ...]] = (),
    start_seconds: PerCall[float | None] = None,
    end_seconds: PerCall[float | None] = None,
) -> FramePlan:
    """Choose fast frames of the whole window, small, and slow frames of intervals, at the common size.

    Nothing is decoded. Where the common size is that of 256 tokens (448 x 448 px in Qwen2.5-VL, max_pixels 200,704), a
    fast frame is at most 32 tokens, and 768 fast and 32 slow frames in tubes of two are the paper's 16,384 tokens. The
    paper doubles both sizes below a minute; a plan says sizes relative to the common one, which the caller sets.

    Args:
        info: a video whose frame times are known.
        fps: frames per second of either stream.
        fast_frames: most frames of the whole window.
        fast_scale: side of a fast frame relative to a slow one's; the default is 32 to 256 tokens.
        slow_frames: most frames of each interval. The paper trains with 32, 24 or 16 for 1, 2 or 3 intervals.
        max_frames: no more than this in all, None for no limit: slow frames stay, fast ones become fewer.
        intervals: start and end of each in seconds, to be seen large.
        start_seconds: start of the clip window, None for the beginning.
        end_seconds: end of the clip window, None for the end.

    Returns:
        Frames in order of time. Group 0 is the fast stream, and groups from 1 are the intervals in order of their
        start, each a clip of the prompt with its times, as in the paper's; a frame that several groups hold stands once
        for each. No group holds a frame twice, and each holds at least one, the first and the last of its stretch if
        two.

    Raises:
        ConfigError: a setting out of range, or an interval that is none.
        FrameError: a live source, a window that holds no frame, an interval outside it, or no place for a fast frame
            under max_frames.

    Source: LOVE-R1 (arXiv 2509.24786) and its released code; by frames' times where the rate varies, no frame twice in
        a group, and max_frames: ours. Its seconds in the pixels are time_code "burned" of a message.
    """
    window = (start_seconds, end_seconds)
    inside, stamped = window_frames(info, window), windowed(info, window)
    start, end = window_bounds(stamped, inside, window)
    times = info.frame_times_seconds[inside]
    cut = [_cut(at, interval, start, end) for at, interval in enumerate(intervals)]
    slow = [
        evenly(times, _shown(times, a), _shown(times, b), min(_count(fps, b - a), slow_frames), np.rint)
        for a, b in sorted(cut)
    ]
    most, notes = min(_count(fps, end - start), fast_frames), tuple[str, ...]()
    if max_frames is not None and most > max_frames - sum(map(len, slow)):
        wanted, most = most, max_frames - sum(map(len, slow))
        notes = (f"max_frames {max_frames}: {most} fast frames, not {wanted}",)
    if most < 1:
        raise FrameError(
            f"slow_fast.max_frames is {max_frames}, and {len(slow)} intervals take {sum(map(len, slow))} slow frames; "
            "raise it, or lower slow_frames."
        )
    fast = evenly(times, 0, len(times) - 1, most, np.rint)
    return FramePlan.from_groups(
        [inside[ranks] for ranks in (fast, *slow)],
        stamped.frame_times_seconds,
        scales=[fast_scale, *[1.0] * len(slow)],
        notes=notes,
        time_code="clip",
    )


def _count(fps: float, seconds: float) -> int:
    return max(1, int(fps * seconds + EPSILON_SECONDS))


def _cut(at: int, interval: Interval, start: float, end: float) -> Interval:
    """Cut an interval to the window."""
    first, last = interval
    place = f"slow_fast.intervals[{at}] is {first:g} to {last:g} seconds"
    if not (math.isfinite(first) and math.isfinite(last) and first < last):
        raise ConfigError(f"{place}; give a start and a later end.")
    if last <= start or first >= end:
        raise FrameError(f"{place}; the clip window holds {start:g} to {end:g} seconds.")
    return max(first, start), min(last, end)


def _shown(times: Float64Array, moment_seconds: float) -> int:
    """Rank of the frame on screen at a moment."""
    return max(0, int(np.searchsorted(times, moment_seconds + EPSILON_SECONDS, side="right")) - 1)
