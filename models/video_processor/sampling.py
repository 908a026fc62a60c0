"""Which frames of a video a family's processor takes: framegate's samplers, the stock rule, or what a message says."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

import numpy as np
import torch

from framegate.errors import ConfigError, FrameError
from framegate.models.family import VideoSettings
from framegate.models.video_processor.message import SAMPLING, Asked
from framegate.models.video_processor.settings import stock_values
from framegate.tokenizers.clip.memory_source import ASSUMED_FPS
from framegate.tokenizers.samplers import FramesConfig
from framegate.types import Int64Array


def frames_config(config: FramesConfig, call: Mapping[str, Any]) -> FramesConfig:
    """Let a call's fps, num_frames and max_frames replace the configuration's; ConfigError for the first two."""
    fps, num_frames = call.get("fps"), call.get("num_frames")
    if fps is not None and num_frames is not None:
        raise ConfigError(f"fps={fps} and num_frames={num_frames} exclude each other; pass one of them.")
    changes: dict[str, Any] = {}
    if fps is not None:
        changes |= {"sampler": "fps", "fps": float(fps)}
    if num_frames is not None:
        changes |= {"sampler": "uniform", "num_frames": int(num_frames)}
    if call.get("max_frames") is not None:
        changes["max_frames"] = int(call["max_frames"])
    return config.over(**changes)


def set_aside(
    model_type: str, settings: VideoSettings, call: Mapping[str, Any], frames: FramesConfig
) -> tuple[str, ...]:
    """Name what the checkpoint's own processor is set to where framegate's sampler chooses the frames instead."""
    stock = stock_values(model_type)
    own = {
        name: getattr(settings, name)
        for name in SAMPLING
        if name not in call and getattr(settings, name) != stock.get(name, getattr(settings, name))
    }
    if not own:
        return ()
    spelled = ", ".join(f"{name}={value}" for name, value in own.items())
    return (
        f"{spelled} of the checkpoint's own processor: not followed, frames are chosen by sampler "
        f"{frames.sampler!r}; say so in the call or the message",
    )


def not_sampled(call: Mapping[str, Any], why: str, *, but: Container[str] = ()) -> tuple[str, ...]:
    """Name the settings of a call that would choose frames and do not, `but` those that do."""
    left = [f"{name}={call[name]:g}" for name in SAMPLING if call.get(name) is not None and name not in but]
    return (f"{', '.join(left)}: not followed, for {why}",) if left else ()


def thinned(inside: Int64Array, asked: Asked) -> Int64Array:
    """Thin frames in memory out as a message asks, evenly: int64 [F] to int64 [k], at least one."""
    wanted = asked.sampling.get("num_frames", len(inside))
    if "fps" in asked.sampling and asked.rate_fps is not None:
        wanted = round(len(inside) / asked.rate_fps * asked.sampling["fps"])
    wanted = min(
        max(wanted, asked.sampling.get("min_frames", 1)), asked.sampling.get("max_frames", len(inside))
    )
    spread = np.linspace(0, len(inside) - 1, min(int(wanted), len(inside)))
    return inside[spread.round().astype(np.int64)]


def too_few(asked: Mapping[str, Any], count: int, rate_fps: float | None) -> tuple[str, ...]:
    """Say which asked numbers of frames a video of `count` frames, shown at a rate, does not have."""
    of_video = f"the video has {count} there: none is shown twice"
    notes = [
        f"{name}={asked[name]:g}: {of_video}"
        for name in ("num_frames", "min_frames")
        if asked.get(name) is not None and asked[name] > count
    ]
    fps = asked.get("fps")
    # stamps of files waver
    if fps is not None and rate_fps is not None and fps > 1.02 * rate_fps:
        notes.append(f"fps={fps:g}: the video has {rate_fps:.3g} frames a second: none is shown twice")
    return tuple(notes)


def stock_indices(num_frames: int, video_fps: float | None, settings: VideoSettings) -> Int64Array:
    """Sample frames in memory as the family's stock video processor does: int64 [F] into the frames.

    Raises:
        FrameError: more frames asked for than there are, or a rate is needed and unknown.

    Source: sample_frames of transformers' Qwen2VLVideoProcessor and Qwen3VLVideoProcessor.
    """
    if settings.sample_rule is not None:
        return settings.sample_rule(num_frames, video_fps, settings)
    if settings.counts_time:
        return _spread_indices(num_frames, video_fps or ASSUMED_FPS, settings)
    wanted = _whole_tubes(num_frames, video_fps, settings)
    if wanted > num_frames:
        raise FrameError(f"num_frames={wanted} is more than the {num_frames} frames at hand; ask for fewer.")
    if wanted < 1:
        raise FrameError(
            f"The sampling leaves no whole tube of {num_frames} frames; raise fps or num_frames."
        )
    return torch.arange(0, num_frames, num_frames / wanted).int().numpy().astype(np.int64)


def _whole_tubes(num_frames: int, video_fps: float | None, settings: VideoSettings) -> int:
    tube = settings.layout.temporal_patch_size
    if settings.num_frames is not None:
        return round(settings.num_frames / tube) * tube
    if settings.fps is None:
        return num_frames
    if video_fps is None:
        raise FrameError(
            f"Sampling at fps={settings.fps} needs the frames' own rate; pass video_metadata with fps."
        )
    most = min(settings.max_frames, num_frames) // tube * tube
    wanted = min(max(num_frames / video_fps * settings.fps, settings.min_frames), most, num_frames)
    return int(wanted // tube) * tube


def _spread_indices(num_frames: int, video_fps: float, settings: VideoSettings) -> Int64Array:
    wanted = settings.num_frames
    if wanted is None:
        wanted = int(num_frames / video_fps * settings.fps) if settings.fps is not None else num_frames
        wanted = min(max(wanted, settings.min_frames), settings.max_frames, num_frames)
    return np.linspace(0, num_frames - 1, wanted).round().astype(np.int64)
