"""Which frames are used: of a file by framegate's samplers, of frames in memory by the stock rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from framegate.errors import ConfigError, FrameError
from framegate.models.family import VideoSettings
from framegate.models.video_processor.metadata import FALLBACK_FPS
from framegate.tokenizers.samplers.registry import FramesConfig, sample_frames
from framegate.tokenizers.video_stream.window import Window, window_frames
from framegate.types import FramePlan, Int64Array, VideoInfo


def frames_config(config: FramesConfig, call: Mapping[str, Any]) -> FramesConfig:
    """Let a call's own fps, num_frames and max_frames replace the configuration's.

    Args:
        config: the front end's.
        call: keyword arguments of the processor call.

    Returns:
        The sampling of this call.

    Raises:
        ConfigError: both fps and num_frames in one call.

    Source: ours; the names are transformers'.
    """
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


def file_plan(
    info: VideoInfo, config: FramesConfig, *, window_seconds: Window, take_all: bool = False
) -> FramePlan:
    """Choose the frames of a file.

    Args:
        info: the file.
        config: sampler and its settings.
        window_seconds: start and end of the clip window, None for the file's.
        take_all: every frame, as `do_sample_frames=False` asks for.

    Returns:
        The frames, in order of time.

    Raises:
        ConfigError: an unknown sampler or setting.
        FrameError: a live source, or a window that holds no frame.
    """
    if take_all:
        return FramePlan.from_indices(window_frames(info, window_seconds), info.frame_times_seconds)
    return sample_frames(info, config, window_seconds)


def stock_indices(num_frames: int, video_fps: float | None, settings: VideoSettings) -> Int64Array:
    """Sample frames in memory as the family's stock video processor does.

    Args:
        num_frames: frames at hand.
        video_fps: their rate, None when unknown.
        settings: fps, num_frames and their bounds.

    Returns:
        int64 [F] into the frames.

    Raises:
        FrameError: more frames asked for than there are, or a rate is needed and unknown.

    Source: sample_frames of transformers' Qwen2VLVideoProcessor and Qwen3VLVideoProcessor.
    """
    if settings.counts_time:
        return _spread_indices(num_frames, video_fps or FALLBACK_FPS, settings)
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
