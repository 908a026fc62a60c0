"""A few frames of the whole video, and as many of every stretch that is asked for: FrameThinker's windows."""

from __future__ import annotations

from framegate.errors import FrameError
from framegate.settings import Count, PerCall, checked
from framegate.tokenizers.clip.window import window_bounds, window_frames, windowed
from framegate.tokenizers.samplers._spaced import evenly
from framegate.types import FramePlan, Int64Array, VideoInfo

# The paper's: frames of a view, for videos up to so many seconds and for longer ones.
SHORT_SECONDS = 300.0
SHORT_FRAMES = 8
LONG_FRAMES = 12

# a prompt shows its plans frame by frame, with numbers
CLIPS = True


@checked
def sample(
    info: VideoInfo,
    *,
    num_frames: Count | None = None,
    max_frames: Count | None = None,
    between: PerCall[tuple[tuple[int, int], ...]] = (),
    start_seconds: PerCall[float | None] = None,
    end_seconds: PerCall[float | None] = None,
) -> FramePlan:
    """Choose frames spread over the whole window, and over the inside of each stretch asked for; nothing is decoded.

    Args:
        info: a video whose frame times are known.
        num_frames: n, frames of each view; None for 8, or for 12 where the window is above 300 seconds.
        max_frames: no more than this in all, shared equally by the views; None for no limit.
        between: START and END of each turn's `choose frames between START and END`, frame numbers of the file from 0;
            `window_frames(info, (seconds, None))[0]` is the number of the frame at a time.
        start_seconds: start of the clip window, None for the beginning.
        end_seconds: end of the clip window, None for the end.

    Returns:
        Frames in order of time. Group 0 is the first view, from the first frame to the last; groups from 1 are the
        turns' as given, from START + 1 to END - 1; a prompt shows each frame behind its number. A frame that several
        views hold stands once for each. A window of fewer than n frames is shown whole.

    Raises:
        ConfigError: a setting out of range.
        FrameError: a live source, a window that holds no frame, START and END that are no more than n apart or not
            both in the window, or fewer max_frames than views.

    Source: FrameThinker (arXiv 2509.24304) and its released code, whose sizes (640 x 360 px, 448 x 252 above 300
        seconds) the caller sets; by frames' times where the rate varies, and max_frames: ours.
    """
    window = (start_seconds, end_seconds)
    inside, stamped = window_frames(info, window), windowed(info, window)
    start, end = window_bounds(stamped, inside, window)
    times = info.frame_times_seconds
    count = num_frames or (SHORT_FRAMES if end - start <= SHORT_SECONDS else LONG_FRAMES)
    views, notes = 1 + len(between), tuple[str, ...]()
    if max_frames is not None and views * count > max_frames:
        if max_frames < views:
            raise FrameError(f"spotlight.max_frames is {max_frames}, and there are {views} views; raise it.")
        count, wanted = max_frames // views, count
        notes = (f"max_frames {max_frames}: {count} frames in each of {views} views, not {wanted}",)
    stretches = [_inner(at, stretch, inside, count) for at, stretch in enumerate(between)]
    groups = [evenly(times, first, last, count) for first, last in ((inside[0], inside[-1]), *stretches)]
    return FramePlan.from_groups(groups, stamped.frame_times_seconds, notes=notes, time_code="frame")


def _inner(at: int, stretch: tuple[int, int], inside: Int64Array, count: int) -> tuple[int, int]:
    start, end = stretch
    if not (inside[0] <= start and end <= inside[-1] and end - start > count):
        raise FrameError(
            f"spotlight.between[{at}] is {start} to {end}; give a start and an end more than {count} frames later, "
            f"both in {inside[0]} to {inside[-1]}."
        )
    return start + 1, end - 1
