"""Time as text: a stamp after every tube, from the container's time stamps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from framegate.errors import FrameError, PlaceholderError
from framegate.settings import check

StampFormat = Literal["seconds", "clock"]


@dataclass(frozen=True, kw_only=True)
class TimestampsConfig:
    """How the time of a tube is written after its tokens.

    Args:
        stamp_format: "seconds" writes <12.3s>, "clock" <01:23> and, from an hour on, <01:02:03>.

    Raises:
        ConfigError: an unknown format.

    Source: DATE (arXiv 2509.09263), TIM; its released code writes seconds, and hours are ours.
    """

    stamp_format: StampFormat = "seconds"

    def __post_init__(self) -> None:
        check(self, "timestamps")


_MINUTE_SECONDS, _HOUR_SECONDS = 60, 3600


def format_stamp(time_seconds: float, *, stamp_format: StampFormat = "seconds") -> str:
    """Write a time as the text that follows a tube.

    Args:
        time_seconds: time of the tube; below 0 for frames before the container's start.
        stamp_format: "seconds" rounds to a tenth of a second; "clock" cuts to whole seconds, as clocks do.

    Returns:
        For example "<12.3s>", "<01:23>" or "<01:02:03>".

    Raises:
        FrameError: a time that is not finite.

    Source: DATE (arXiv 2509.09263), TIM; its released code. Negative times and hours are ours.
    """
    if not math.isfinite(time_seconds):
        raise FrameError(f"The time of a tube is {time_seconds} s; timestamps need finite times.")
    if stamp_format == "seconds":
        return f"<{round(time_seconds, 1) + 0.0:.1f}s>"  # adding 0.0 writes -0.0 as 0.0
    # milliseconds first: a quotient of 2.9999999 s is the third second
    whole_seconds = math.trunc(round(time_seconds, 3))
    sign = "-" if whole_seconds < 0 else ""
    hours, rest = divmod(abs(whole_seconds), _HOUR_SECONDS)
    minutes, seconds = divmod(rest, _MINUTE_SECONDS)
    return f"<{sign}{f'{hours:02d}:' if hours else ''}{minutes:02d}:{seconds:02d}>"


def tube_times_seconds(
    frame_times_seconds: Sequence[float], *, temporal_patch_size: int
) -> tuple[float, ...]:
    """Give every tube the time of its first frame.

    Args:
        frame_times_seconds: time of each of the F frames that go in, F at least 1.
        temporal_patch_size: frames in a tube, at least 1; a last tube that is not full counts as one.

    Returns:
        ceil(F / temporal_patch_size) times.

    Raises:
        FrameError: no frame.

    Source: DATE (arXiv 2509.09263), TIM: the first frame of a tube. Its released code reads wrong frames when the
    last tube is not full; the stride here is always the tube's own.
    """
    if len(frame_times_seconds) == 0:
        raise FrameError("A video without frames has no times; give at least one frame.")
    return tuple(float(time) for time in frame_times_seconds[::temporal_patch_size])


def interleave(tube_tokens: Sequence[int], stamps: Sequence[str], placeholder: str) -> str:
    """Write the text that stands for a video: the placeholders of each tube, then its stamp.

    Args:
        tube_tokens: placeholders of each tube, each at least 0.
        stamps: text after each tube.
        placeholder: the family's video placeholder.

    Returns:
        The text; without stamps it would be the family's own run of placeholders.

    Raises:
        PlaceholderError: another number of stamps than of tubes.

    Source: DATE (arXiv 2509.09263), TIM: V0 t0 V1 t1 ... inside one vision block.
    """
    if len(tube_tokens) != len(stamps):
        raise PlaceholderError(f"{len(stamps)} stamps for {len(tube_tokens)} tubes; give one stamp per tube.")
    return "".join(placeholder * count + stamp for count, stamp in zip(tube_tokens, stamps, strict=True))
