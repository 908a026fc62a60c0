"""What a message says of a video beside the video itself: the keys of framegate, transformers and qwen-vl-utils."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from framegate.errors import ConfigError, nearest
from framegate.models.families._shared import frame_rule
from framegate.models.family import SizeRule, VideoSettings
from framegate.settings import Count, Positive, make, settings_of
from framegate.tokenizers.caps import Caps
from framegate.tokenizers.clip.window import WHOLE, Window, check_window
from framegate.tokenizers.gate.plan import GatePlan
from framegate.types import FramePlan, TimeCode

Given = FramePlan | GatePlan | None
# where a message may hold a video, as transformers reads it
PLACES = ("video", "url", "path")
# what a message or a call may set for itself
SHARES = ("keep_ratio", "tower_ratio")
SAMPLING = ("fps", "num_frames", "min_frames", "max_frames")
_BOUNDS = ("min_pixels", "max_pixels", "total_pixels")
_SIDES = ("resized_height", "resized_width")
# an unknown key so much like a known one is a slip of the pen, and refused
_ALIKE = 0.8


@dataclass(frozen=True, kw_only=True)
class VideoKeys:
    """The keys of a video in a message, each None where it is not given.

    Args:
        video_start: start of the clip window, seconds.
        video_end: end of it, seconds.
        plan: frames or cells planned before; or a sampler's name and its options, {"sampler": "apollo", ...}.
        time_code: how the prompt tells the times of a plan of frames, in place of what the plan says; see FramePlan.
        keep_ratio: share of the video's tokens that the language model reads.
        tower_ratio: share of its cells that the tower encodes.
        fps: frames per second to take; of frames without times the rate they stand at.
        nframes: number of frames to take, evenly spaced; num_frames is the same.
        num_frames: see nframes.
        min_frames: fewest frames to take.
        max_frames: most frames to take.
        min_pixels: least pixels of a frame at the tower.
        max_pixels: most pixels of a frame at the tower.
        total_pixels: most pixels of all tubes together.
        resized_height: height of frames at the tower, px; given with resized_width.
        resized_width: width of frames at the tower, px.
        sample_fps: rate in frames per second at which frames in a list were sampled.
        raw_fps: rate of the file they were taken from.
        video_stream: number of the file's video stream to read; see `framegate.open_video`.
    """

    video_start: float | None = None
    video_end: float | None = None
    plan: Any = None
    time_code: TimeCode | None = None
    keep_ratio: float | None = None
    tower_ratio: float | None = None
    fps: Positive | None = None
    nframes: Count | None = None
    num_frames: Count | None = None
    min_frames: Count | None = None
    max_frames: Count | None = None
    min_pixels: Count | None = None
    max_pixels: Count | None = None
    total_pixels: Count | None = None
    resized_height: Count | None = None
    resized_width: Count | None = None
    sample_fps: Positive | None = None
    raw_fps: Positive | None = None
    video_stream: int | None = None


KEYS = settings_of(VideoKeys)


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is asked of one video.

    Args:
        window_seconds: clip window.
        plan: frames or cells planned before.
        time_code: how the prompt tells the times of a plan of frames; None for what the plan says.
        common_frames: frames of the whole plan that this video is a clip of, by which the size rule goes; None where it
            is whole.
        shares: keep_ratio and tower_ratio of this video alone.
        sampling: which frames, by the names that a call of the processor has for it.
        rate_fps: rate of frames in memory; None where nobody tells.
        size: bounds of a frame's size, by their names in a message.
        video_stream: number of the video stream of a file; None for the one that a player would show.
        notes: what is not followed, and why.
        read_once: gives the file as `framegate.tokenizers.clip.indexed` knows it, for all clips of a plan; None for
            one that is opened by its own name.
    """

    window_seconds: Window = WHOLE
    plan: Given = None
    time_code: TimeCode | None = None
    common_frames: int | None = None
    shares: Mapping[str, float] = field(default_factory=dict)
    sampling: Mapping[str, float] = field(default_factory=dict)
    rate_fps: float | None = None
    size: Mapping[str, int] = field(default_factory=dict)
    video_stream: int | None = None
    notes: tuple[str, ...] = ()
    read_once: Callable[[Caps], Any] | None = field(default=None, compare=False, repr=False)

    def call(self, call: Mapping[str, Any]) -> dict[str, Any]:
        """Lay the sampling that the message asks for over that of the call."""
        if not self.sampling:
            return dict(call)
        # fps and num_frames exclude each other, and both want frames to be sampled
        left = {name: value for name, value in call.items() if name not in (*SAMPLING, "do_sample_frames")}
        return left | dict(self.sampling)

    def settings(self, settings: VideoSettings) -> VideoSettings:
        """Lay the size that the message asks for over the family's rule."""
        if not _can_resize(settings):
            return settings
        rule = _sized(self.size, settings.size_rule) if self.size else settings.size_rule
        if self.common_frames is not None or self.scale != 1:
            rule = _scaled(self.scale, self.common_frames, rule)
        return replace(settings, size_rule=rule)

    @property
    def scale(self) -> float:
        """Size of the frames relative to the common size, where their plan has one for all."""
        scales = set(self.plan.scale.tolist()) if isinstance(self.plan, FramePlan) else {1.0}
        return float(scales.pop()) if len(scales) == 1 else 1.0

    @property
    def burns_seconds(self) -> bool:
        """True where the second of a frame is drawn into it."""
        return (self.time_code or getattr(self.plan, "time_code", None)) == "burned"

    def not_followed(self, settings: VideoSettings) -> tuple[str, ...]:
        """Say why the size that the message asks for is not followed."""
        wanted = [f"{' and '.join(self.size)} of the message"] if self.size else []
        wanted += [f"scale {self.scale:g} of the plan"] if self.scale != 1 else []
        if not wanted or _can_resize(settings):
            return ()
        free = "do_resize is off" if settings.takes_bounds else "this family's processor takes no bounds"
        why = free if settings.judged is None else "this tower takes frames of one size"
        return (f"{' and '.join(wanted)}: not followed, for {why}",)


NOTHING_ASKED = Asked()


def asked_of(block: Mapping[str, Any], *, in_memory: bool) -> Asked:
    """Read the keys of a video block.

    Args:
        block: of a message, with "type", the video and keys of VideoKeys.
        in_memory: its video is frames.

    Returns:
        What is asked; keys that nobody knows are notes.

    Raises:
        ConfigError: a key much like a known one, a value that does not fit, or keys that contradict each other.
        FrameError: a plan of another kind, or a window without an inside.
    """
    given = {
        name: _number(value)
        for name, value in block.items()
        if value is not None and name not in (*PLACES, "type")
    }
    known = KEYS
    notes = [_unknown(name, known) for name in given if name not in known]
    keys = make(
        VideoKeys, {name: value for name, value in given.items() if name in known}, "video of a message"
    )
    window = (keys.video_start, keys.video_end)
    check_window(window)
    sampling = _given(keys, SAMPLING) | ({} if keys.nframes is None else {"num_frames": keys.nframes})
    _check_together(keys, sampling)
    rate = keys.sample_fps
    if rate is not None and not in_memory:
        notes.append(f"sample_fps={rate:g} of the message: not followed, for the file has times of its own")
    if keys.raw_fps is not None:
        notes.append(f"raw_fps={keys.raw_fps:g} of the message: not needed, sample_fps tells the times")
    if in_memory and rate is None and "fps" in sampling:
        rate = sampling.pop("fps")
        notes.append(f"fps={rate:g} of the message is the rate of its frames, as sample_fps")
    return Asked(
        window_seconds=window,
        plan=keys.plan,
        time_code=keys.time_code,
        shares=_given(keys, SHARES),
        sampling=sampling,
        rate_fps=rate if in_memory else None,
        size=_given(keys, (*_BOUNDS, *_SIDES)),
        video_stream=keys.video_stream,
        notes=tuple(notes),
    )


def _number(value: Any) -> Any:
    """A number that is spelled as text, as examples of Qwen have it; a whole one as such, however it is spelled."""
    try:
        number = float(value) if isinstance(value, str | float) else math.nan
    except ValueError:
        return value
    if not math.isfinite(number):
        return value
    return int(number) if number == int(number) else number


def _given(keys: VideoKeys, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(keys, name) for name in names if getattr(keys, name) is not None}


def _unknown(name: str, known: Mapping[str, Any]) -> str:
    everything = (*known, *PLACES)
    if difflib.get_close_matches(name, everything, n=1, cutoff=_ALIKE):
        raise ConfigError(f"Unknown key {name!r} of a video in a message. {nearest(name, everything)}")
    return f"key {name!r} of the message's video: not known, not followed"


def _check_together(keys: VideoKeys, sampling: Mapping[str, Any]) -> None:
    pairs = _given(keys, ("fps", "nframes", "num_frames"))
    if len(pairs) > 1:
        spelled = " and ".join(f"{name}={value}" for name, value in pairs.items())
        raise ConfigError(f"{spelled} of a video in a message exclude each other; give one of them.")
    if keys.plan is not None and sampling:
        raise ConfigError(
            f"plan and {', '.join(sampling)} of a video in a message both say which frames; leave out one of them."
        )
    if (keys.resized_height is None) != (keys.resized_width is None):
        raise ConfigError(
            f"resized_height is {keys.resized_height} and resized_width is {keys.resized_width}; give both, in px."
        )
    for least, most in (("min_pixels", "max_pixels"), ("min_frames", "max_frames")):
        low, high = getattr(keys, least), getattr(keys, most)
        if low is not None and high is not None and low > high:
            raise ConfigError(f"{least} is {low} and {most} is {high} of a video in a message; swap them.")


def _can_resize(settings: VideoSettings) -> bool:
    return settings.judged is None and settings.do_resize and settings.takes_bounds


def _scaled(scale: float, num_frames: int | None, common: SizeRule) -> SizeRule:
    """The common size of a plan's frames times their scale, in whole cells."""

    def rule(count: int, height: int, width: int, settings: VideoSettings) -> tuple[int, int]:
        cell = settings.layout.cell_px
        rows, columns = common(num_frames or count, height, width, settings)
        return max(round(rows * scale / cell), 1) * cell, max(round(columns * scale / cell), 1) * cell

    return rule


def _sized(size: Mapping[str, int], stock: SizeRule) -> SizeRule:
    """The family's size rule with the bounds of a message, per frame as qwen-vl-utils counts them."""

    def rule(num_frames: int, height: int, width: int, settings: VideoSettings) -> tuple[int, int]:
        cell, tube = settings.layout.cell_px, settings.layout.temporal_patch_size
        if "resized_height" in size:
            rows, columns = (max(round(size[side] / cell), 1) * cell for side in _SIDES)
            return rows, columns
        least, most = size.get("min_pixels"), size.get("max_pixels")
        if "total_pixels" in size:
            share = size["total_pixels"] * tube // max(num_frames, tube)
            most = max(min(most or share, share), least or 0, cell * cell)

        def bounded(low: float, high: float) -> tuple[int, int]:
            bounds: Any = {"min_pixels": low, "max_pixels": high, "cap_pixels_per_frame": False}
            return frame_rule(num_frames, height, width, replace(settings, **bounds))

        own, usual = bounded(0, float("inf")), stock(num_frames, height, width, settings)
        area, usual_area = own[0] * own[1], usual[0] * usual[1]
        if (most is not None and area > most) or (least is not None and area < least):
            return bounded(least or 0, float("inf") if most is None else most)
        # where the message leaves an end open, that of the processor holds
        if (most is None and area > usual_area) or (
            least is None and area < usual_area <= (most or usual_area)
        ):
            return usual
        return own

    return rule
