"""A video's bytes as vLLM's processors take them: the frames of framegate's plan, and metadata with true times."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from framegate.errors import ConfigError, FrameError, VideoError
from framegate.settings import make, saved_settings_of
from framegate.tokenizers.caps import CAPS, SERVED_CAPS, Caps
from framegate.tokenizers.clip import VideoStream, open_video
from framegate.tokenizers.clip.window import WHOLE
from framegate.tokenizers.gate.video import sampled_frames
from framegate.tokenizers.plan_config import PlanConfig
from framegate.tokenizers.samplers import DEFAULT_SAMPLER, FramesConfig, sampler
from framegate.types import FramePlan, UInt8Array

CAPS_VARIABLE = "FRAMEGATE_VLLM_CAPS"
# processors divide a frame's number by the rate to get its time: numbers in milliseconds keep any clock
TICKS_PER_SECOND = 1000
# vLLM hands a number of frames to every loader; these stand for "nobody said"
_LEFT_OPEN = (-1, 32)


def served_caps(text: str | None) -> Caps:
    """What a request may take of this server.

    Args:
        text: caps by name as JSON, over those of `framegate serve`; null takes one away. None for those alone.

    Raises:
        ConfigError: no mapping, an unknown cap, or one that is not above 0.
    """
    try:
        own = json.loads(text) if text else {}
    except ValueError as error:
        raise ConfigError(
            f'{CAPS_VARIABLE} is no JSON ({error}); set it like {{"cap_seconds": 600}}.'
        ) from error
    if not isinstance(own, dict):
        raise ConfigError(f'{CAPS_VARIABLE} is {text!r}; set it like {{"cap_seconds": 600}}.')
    return make(Caps, {**SERVED_CAPS, **own}, CAPS_VARIABLE, what="cap")


def read_video(
    data: bytes, settings: Mapping[str, Any], caps: Caps, *, num_frames: int = -1
) -> tuple[UInt8Array, dict[str, Any]]:
    """Choose and decode frames of a video; what is beyond a cap is refused before a frame is decoded.

    Args:
        data: the file.
        settings: sampler and its settings, as of `framegate.attach` (fps=2.0, max_frames=768, sampler="uniform"), and
            caps, which are followed where they are lower.
        caps: of the server.
        num_frames: of vLLM, for samplers that take it (uniform); others go by their own settings.

    Returns:
        Frames, uint8 [F, h, w, 3] RGB at their own size as shown, and the metadata of transformers' VideoMetadata:
        times stand in milliseconds, as `frames_indices` at 1000 `fps`, for processors write index / fps.

    Raises:
        ConfigError: an unknown setting, a sampler whose plans have clips or sizes of their own, or a num_frames that
            somebody chose.
        FrameError: a file that cannot be read: vLLM answers 400 to a ValueError, and 500 to an OSError.
        CapError: beyond a cap.
    """
    lowered = {name: settings[name] for name in CAPS if settings.get(name) is not None}
    make(Caps, lowered, "media_io_kwargs", what="cap")
    caps = caps.lowered(lowered)
    own = {name: value for name, value in settings.items() if name not in CAPS}
    frames = FramesConfig.from_settings(_counted(own, num_frames), "media_io_kwargs")
    try:
        caps.check_bytes(len(data), "The video")
        with open_video(data, caps=caps) as stream:
            caps.check_seconds(stream.info.duration_seconds, "The video")
            plan = sampled_frames(stream, PlanConfig(frames=frames), WHOLE)
            caps.check_frames(len(plan), "The video")
            _check_shown(plan, frames.sampler)
            return _decoded(stream, plan)
    except VideoError as error:
        raise FrameError(str(error)) from error


def _counted(settings: dict[str, Any], num_frames: int) -> dict[str, Any]:
    """Settings with vLLM's number of frames, for samplers that take one."""
    name = settings.get("sampler", DEFAULT_SAMPLER)
    if "num_frames" in saved_settings_of(sampler(name)):
        return {"num_frames": num_frames} | settings
    if num_frames not in _LEFT_OPEN:
        raise ConfigError(
            f"num_frames is {num_frames}, and sampler {name!r} goes by other settings: give max_frames={num_frames}, "
            "or sampler='uniform'."
        )
    return settings


def _check_shown(plan: FramePlan, name: str) -> None:
    if plan.time_code is not None or not np.all(plan.scale == 1):
        raise ConfigError(
            f"Plans of sampler {name!r} show clips, numbers or sizes of their own, and vLLM takes frames of one size "
            "with their times: take fps, uniform or keyframes."
        )


def _decoded(stream: VideoStream, plan: FramePlan) -> tuple[UInt8Array, dict[str, Any]]:
    info = stream.info
    pixels = np.empty((len(plan), info.height_px, info.width_px, 3), np.uint8)
    times: list[float] = []
    for frame in stream.frames(plan):
        pixels[len(times)] = frame.pixels
        times.append(frame.timestamp_seconds)
    if not times:
        raise FrameError(
            f"The video gave none of its {len(plan)} planned frames; record it again, or repair it."
        )
    ticks = [round(seconds * TICKS_PER_SECOND) for seconds in times]
    metadata = {
        "total_num_frames": max(round(info.duration_seconds * TICKS_PER_SECOND), ticks[-1] + 1),
        "fps": float(TICKS_PER_SECOND),
        "duration": info.duration_seconds,
        "width": info.width_px,
        "height": info.height_px,
        "video_backend": "framegate",
        "frames_indices": ticks,
        "do_sample_frames": False,
    }
    return pixels[: len(times)], metadata
