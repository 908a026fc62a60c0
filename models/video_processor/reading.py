"""A video as a family's processor reads it: its frames by framegate's samplers or the stock rule, and its times."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import torch
from transformers.video_utils import VideoMetadata

from framegate.errors import ConfigError, FrameError
from framegate.models.family import VideoSettings
from framegate.models.video_processor.metadata import (
    counted_metadata,
    file_metadata,
    frame_times_seconds,
    sampled_metadata,
)
from framegate.models.video_processor.settings import stock_values, video_settings
from framegate.models.video_processor.sources import Given
from framegate.tokenizers.clip import Clip, VideoStream
from framegate.tokenizers.clip.clip import Judged
from framegate.tokenizers.clip.memory_source import ASSUMED_FPS, MemoryFrames
from framegate.tokenizers.clip.window import WHOLE, Window, window_bounds, window_frames
from framegate.tokenizers.gate.video import TowerView, all_frames, chosen_frames, open_clip
from framegate.tokenizers.plan_config import PlanConfig
from framegate.tokenizers.samplers import FramesConfig, sample_frames
from framegate.types import FramePlan, Int64Array, VideoInfo

_FRAMES_WORTH_A_BAR = 512


@dataclass(frozen=True, kw_only=True)
class Request:
    """What one call asks of each of its videos.

    Args:
        model_type: the family.
        settings: size rule, patch layout and stock sampling.
        config: what decides on frames and cells.
        call: the call's own keyword arguments that were given a value.
    """

    model_type: str
    settings: VideoSettings
    config: PlanConfig
    call: Mapping[str, Any]

    @property
    def is_stamped(self) -> bool:
        """True when stamps of time are written into the prompt."""
        return self.config.timestamps is not None

    @property
    def tower(self) -> TowerView:
        """How the family's tower takes videos."""
        return tower_view(self.settings)


@dataclass(frozen=True, kw_only=True)
class OpenVideo:
    """A video that is being read.

    Args:
        clip: its frames at the tower's size.
        metadata: tells times and size for the processor's text, once the clip was read.
        video_seconds: duration of the video or its window.
        notes: what was decided on its frames.
    """

    clip: Clip
    metadata: Callable[[], VideoMetadata]
    video_seconds: float | None
    notes: tuple[str, ...] = ()


def tower_size_px(num_frames: int, height_px: int, width_px: int, settings: VideoSettings) -> tuple[int, int]:
    """Find the size at which the tower sees a video: height and width, multiples of a cell.

    Raises:
        FrameError: a side is smaller than one cell, one side is more than 200 times the other, or, without resizing, no
            multiple of a cell or not the square that the tower takes.
    """
    if min(height_px, width_px) < settings.layout.cell_px:
        raise FrameError(
            f"Frames of {height_px} x {width_px} px are smaller than one cell of {settings.layout.cell_px} px; give "
            "larger frames."
        )
    if settings.judged is None and not settings.do_resize:
        return height_px, width_px
    return settings.size_rule(num_frames, height_px, width_px, settings)


def tower_view(settings: VideoSettings) -> TowerView:
    """How a tower takes videos, by its processor's settings."""
    size = settings.judged
    return TowerView(
        cell_px=settings.cell_layout.cell_px,
        tube_frames=settings.layout.temporal_patch_size,
        size_px=lambda info, frames: tower_size_px(frames, info.height_px, info.width_px, settings),
        resample="bilinear" if settings.resample == "bilinear" else "bicubic",
        judged=None if size is None else Judged(seen_px=size.seen_px, judged_px=size.judged_px),
    )


def stock_tower_view(model_type: str, size: Mapping[str, int]) -> TowerView:
    """Describe what a family's video processor does to a video, without one.

    Args:
        model_type: the family.
        size: bounds of the size rule, "shortest_edge" and "longest_edge" in pixels; empty for the class's defaults.

    Returns:
        Cells, tubes and the size rule; the defaults are transformers'.

    Raises:
        AttachmentError: no such family here.
    """
    return tower_view(
        video_settings(model_type, stock_values(model_type, {"size": dict(size)} if size else None))
    )


@contextmanager
def opened(
    video: Any,
    metadata: VideoMetadata | None,
    request: Request,
    *,
    window_seconds: Window = WHOLE,
    given: Given = None,
) -> Iterator[OpenVideo]:
    """Open a video as a family's processor reads it, with metadata for frames in memory.

    Raises:
        VideoError: the file cannot be read.
        FrameError: frames or times that cannot be used.
        ConfigError: an unknown sampler or setting.
    """
    if isinstance(video, str | PathLike | bytes):
        source = str(video) if isinstance(video, str) else video
        with _opened_file(source, request, window_seconds, given) as opening:
            yield opening
    else:
        with _opened_frames(video, metadata, request, given) as opening:
            yield opening


@contextmanager
def _opened_file(video: Any, request: Request, window: Window, given: Given) -> Iterator[OpenVideo]:
    notes: list[str] = []

    def choose(stream: VideoStream) -> FramePlan:
        return chosen_frames(stream, given, lambda: _file_frames(stream, window, request, notes))

    with open_clip(video, request.config, request.tower, choose, window_seconds=window) as clip:
        clip.show_progress = len(clip.times_seconds) >= _FRAMES_WORTH_A_BAR
        start, end = window_bounds(clip.info, window_frames(clip.info, window), window)
        counts = _takes_stock_frames(request) and window == WHOLE and given is None
        describe = counted_metadata if counts else file_metadata

        def metadata() -> VideoMetadata:
            assert clip.frames is not None
            return describe(clip.info, clip.frames)

        yield OpenVideo(clip=clip, metadata=metadata, video_seconds=end - start, notes=tuple(notes))


@contextmanager
def _opened_frames(
    video: Any, described: VideoMetadata | None, request: Request, given: Given
) -> Iterator[OpenVideo]:
    settings = request.settings
    layout = request.call.get("input_data_format")
    layout = getattr(layout, "value", layout)
    first = None if layout is None else layout == "channels_first"
    count = MemoryFrames(video, channels_first=first).count
    metadata = described or VideoMetadata(total_num_frames=count, frames_indices=list(range(count)))
    indices = np.arange(count)
    if settings.do_sample_frames and given is None:
        indices = stock_indices(count, metadata.fps, settings)
        times = _all_times(metadata, count)
        metadata = sampled_metadata(metadata, indices)
    else:
        times = frame_times_seconds(metadata, count)

    def choose(stream: VideoStream) -> FramePlan:
        every = FramePlan.from_indices(indices, stream.info.frame_times_seconds)
        return chosen_frames(stream, given, lambda: every)

    source = {"timestamps_seconds": times, "channels_first": first}
    with open_clip(video, request.config, request.tower, choose, **source) as clip:
        assert clip.frames is not None
        if len(clip.frames) < len(indices):
            metadata = sampled_metadata(metadata, clip.frames.indices)
        seconds = len(clip.times_seconds) / metadata.sampled_fps
        yield OpenVideo(clip=clip, metadata=lambda: metadata, video_seconds=seconds)


def _all_times(metadata: VideoMetadata, count: int) -> Any:
    """Times before sampling, which needs one per frame at hand whatever `frames_indices` said."""
    times = getattr(metadata, "times_seconds", None)
    return np.arange(count) / (metadata.fps or ASSUMED_FPS) if times is None else np.asarray(times)


def _takes_stock_frames(request: Request) -> bool:
    """True where nothing is reduced and nobody chose frames: the checkpoint's own processor then chooses."""
    return request.config.reduces_nothing and request.config.frames.is_left_open


def _file_frames(stream: VideoStream, window: Window, request: Request, notes: list[str]) -> FramePlan:
    settings, call, info = request.settings, request.call, stream.info
    sampling = frames_config(request.config.frames, call)
    inside = window_frames(info, window)
    if call.get("do_sample_frames") is False:
        return all_frames(stream, window)
    if _takes_stock_frames(request):
        sampled = settings.do_sample_frames or any(
            call.get(name) is not None for name in ("fps", "num_frames", "max_frames")
        )
        chosen = stock_indices(len(inside), info.average_fps, settings) if sampled else np.arange(len(inside))
        notes.append(
            f"frames: {len(chosen):,} of {len(inside):,}, as the checkpoint's own processor chooses; "
            "set frames.fps for others"
        )
        asked = _asked_of_players(info)
        if asked:
            notes.append(
                f"frames are {asked}, as the file asks players to; readers of transformers leave it out"
            )
        return FramePlan.from_indices(inside[chosen], info.frame_times_seconds)
    if "min_frames" in call:
        notes.append(
            "min_frames is for frames in memory; it does not change which frames of a file are taken"
        )
    if request.config.reduces_nothing:
        notes.append(
            f"frames: chosen by sampler {request.config.frames.sampler!r} as set, not by the checkpoint's own processor"
        )
    return sample_frames(info, sampling, window)


def _asked_of_players(info: VideoInfo) -> str:
    """What was done to the stored pictures before they were shown, empty where nothing."""
    turned = f"turned by {info.rotation_degrees} degrees" if info.rotation_degrees else ""
    mirrored = "mirrored" if info.is_mirrored else ""
    wide = f"stretched (pixels are {info.pixel_aspect:.3g} times as wide as high)"
    stretched = wide if info.pixel_aspect != 1 else ""
    return ", ".join(filter(None, (turned, mirrored, stretched)))


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
