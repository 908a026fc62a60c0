"""Settings of frame sampling, validated when they are made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from framegate.errors import ConfigError, nearest
from framegate.samplers import SAMPLERS

KeyframeSource = Literal["auto", "codec", "content"]


@dataclass(frozen=True, kw_only=True)
class FramesConfig:
    """Which frames are taken from a file or a live source (frames the caller sampled are all used).

    Args:
        sampler: registry key of the sampler: "fps", "uniform", "keyframes" or "tass".
        fps: frames per second for "fps", scored frames per second for "tass", above 0.
        num_frames: number of frames for "uniform", "keyframes" and "tass".
        max_frames: no sampler takes more than this; None for no limit.
        coverage: "keyframes": no gap longer than this share of the video is left, in (0, 1].
        keyframe_source: "keyframes": "codec", "content", or "auto" for the codec's where they tell something.
        min_gap_seconds: "tass": distance of frames in its first round, halved from round to round.

    Raises:
        ConfigError: an unknown sampler, a value out of range, or "uniform" without num_frames.
    """

    sampler: str = "fps"
    fps: float = 2.0
    num_frames: int | None = None
    max_frames: int | None = 768
    coverage: float = 0.05
    keyframe_source: str = "auto"
    min_gap_seconds: float = 20.0

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise ConfigError(
                f"Unknown frame sampler {self.sampler!r}. {nearest(str(self.sampler), SAMPLERS)}"
            )
        if not 0 < self.coverage <= 1:
            raise ConfigError(f"frames.coverage is {self.coverage}; it must be in (0, 1].")
        if self.keyframe_source not in get_args(KeyframeSource):
            raise ConfigError(
                f"frames.keyframe_source is {self.keyframe_source!r}; it must be one of {get_args(KeyframeSource)}."
            )
        if not (self.min_gap_seconds > 0 and math.isfinite(self.min_gap_seconds)):
            raise ConfigError(f"frames.min_gap_seconds is {self.min_gap_seconds}; it must be above 0.")
        if not (self.fps > 0 and math.isfinite(self.fps)):
            raise ConfigError(f"frames.fps is {self.fps}; it must be above 0.")
        for name in ("num_frames", "max_frames"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"frames.{name} is {value}; it must be at least 1, or None.")
        if self.sampler == "uniform" and self.num_frames is None:
            raise ConfigError('frames.sampler "uniform" needs frames.num_frames, for example num_frames=32.')
