"""A video as a family's processor reads it: its frames by framegate's samplers or the stock rule, and its times."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from transformers.video_utils import VideoMetadata

from framegate.errors import FrameError
from framegate.models.families import family_of_type
from framegate.models.family import VideoSettings
from framegate.models.video_processor.message import NOTHING_ASKED, Asked
from framegate.models.video_processor.metadata import (
    TimedMetadata,
    counted_metadata,
    file_metadata,
    frame_times_seconds,
    picked_metadata,
    sampled_metadata,
)
from framegate.models.video_processor.sampling import (
    frames_config,
    not_sampled,
    set_aside,
    stock_indices,
    thinned,
    too_few,
)
from framegate.models.video_processor.settings import (
    not_followed,
    sizes_of,
    stock_values,
    video_settings,
)
from framegate.models.video_processor.sources import is_file
from framegate.settings import read
from framegate.tokenizers.clip import Clip, VideoStream
from framegate.tokenizers.clip.address import fetched
from framegate.tokenizers.clip.clip import Judged
from framegate.tokenizers.clip.memory_source import ASSUMED_FPS, MemoryFrames, describe
from framegate.tokenizers.clip.window import WHOLE, Window, window_bounds, window_frames, windowed
from framegate.tokenizers.gate.video import TowerView, all_frames, chosen_frames, open_clip
from framegate.tokenizers.plan_config import PlanConfig
from framegate.tokenizers.samplers import FramesConfig, sample_frames
from framegate.types import FramePlan, VideoInfo

Layout = Literal["channels_first", "channels_last"]
_FRAMES_WORTH_A_BAR = 512
# why settings that would choose frames do not
_PLANNED = "a plan says which frames"
_ALL = "do_sample_frames is off, and every frame is taken"
_BY_RATE = "the window of these frames is thinned by what their message says alone"


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
    if settings.judged is None and settings.takes_bounds and not settings.do_resize:
        return height_px, width_px
    return settings.size_rule(num_frames, height_px, width_px, settings)


def tower_view(settings: VideoSettings) -> TowerView:
    """How a tower takes videos, by its processor's settings."""
    size = settings.judged
    return TowerView(
        cell_px=settings.cell_layout.cell_px,
        tube_frames=settings.layout.temporal_patch_size,
        size_px=lambda info, frames: tower_size_px(frames, info.height_px, info.width_px, settings),
        scaled_px=_scaling_of(settings),
        squeezes=settings.longer_edge_px is not None,
        resample=settings.resample,
        judged=None if size is None else Judged(seen_px=size.seen_px, judged_px=size.judged_px),
    )


def _scaling_of(settings: VideoSettings) -> Callable[[VideoInfo, int], tuple[int, int]] | None:
    """The size of a video's frames on their way to the tower's; None where they are scaled once."""
    if settings.longer_edge_px is not None:
        return partial(_by_longer_px, edge_px=settings.longer_edge_px)
    if settings.shorter_edge_px is not None:
        return partial(_by_shorter_px, edge_px=settings.shorter_edge_px)
    rule = settings.content_rule
    if rule is not None and settings.do_resize:
        return lambda info, frames: rule(frames, info.height_px, info.width_px, settings)
    return None


def _by_shorter_px(info: VideoInfo, _num_frames: int, *, edge_px: int) -> tuple[int, int]:
    """Bring the shorter side to so many pixels, as transformers' `resize` does."""
    shorter = min(info.height_px, info.width_px)
    return int(edge_px * info.height_px / shorter), int(edge_px * info.width_px / shorter)


def _by_longer_px(info: VideoInfo, _num_frames: int, *, edge_px: int) -> tuple[int, int]:
    """Bring the longer side to so many pixels, and the shorter one to an even number, as SmolVLM's `resize` does."""
    aspect = info.width_px / info.height_px
    shorter = int(edge_px / aspect) if aspect >= 1 else int(edge_px * aspect)
    shorter = max(shorter + shorter % 2, 1)
    return (shorter, edge_px) if aspect >= 1 else (edge_px, shorter)


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
    return tower_view(video_settings(model_type, stock_values(model_type, sizes_of(model_type, size))))


@contextmanager
def opened(
    video: Any, metadata: VideoMetadata | None, request: Request, asked: Asked = NOTHING_ASKED
) -> Iterator[OpenVideo]:
    """Open a video as a family's processor reads it, with metadata for frames in memory, and what is asked of it.

    Raises:
        VideoError: the file cannot be read.
        FrameError: frames or times that cannot be used.
        ConfigError: an unknown sampler or setting.
    """
    caps = request.config.caps
    source = fetched(video, caps) if asked.read_once is None else asked.read_once(caps)
    opening = (
        _opened_file(source, request, asked)
        if asked.read_once is not None or is_file(source)
        else _opened_frames(source, metadata, request, asked)
    )
    with opening as open_video:
        open_video.clip.burns_seconds = asked.burns_seconds
        notes = (
            *asked.notes,
            *not_followed(request.model_type, request.call),
            *asked.not_followed(request.settings),
            *_sizes_not_followed(open_video.clip, is_followed=asked.scale != 1),
        )
        yield replace(open_video, notes=(*notes, *open_video.notes))


def _sizes_not_followed(clip: Clip, *, is_followed: bool) -> tuple[str, ...]:
    if clip.frames is None or is_followed or bool(np.all(clip.frames.scale == 1)):
        return ()
    return (
        "scale of the plan: not followed, for one video has frames of one size; a message of apply_chat_template shows "
        "its clips one by one",
    )


@contextmanager
def _opened_file(video: Any, request: Request, asked: Asked) -> Iterator[OpenVideo]:
    window, given = asked.window_seconds, asked.plan
    notes = [] if given is None else list(not_sampled(request.call, _PLANNED))

    def choose(stream: VideoStream) -> FramePlan:
        return chosen_frames(stream, given, lambda: _file_frames(stream, window, request, notes))

    told: dict[str, Any] = {"window_seconds": window, "video_stream": asked.video_stream}
    with open_clip(video, request.config, request.tower, choose, **told) as clip:
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
    video: Any, described: VideoMetadata | None, request: Request, asked: Asked
) -> Iterator[OpenVideo]:
    settings, given = request.settings, asked.plan
    layout = request.call.get("input_data_format")
    layout = read(getattr(layout, "value", layout), Layout | None, "input_data_format")
    first = None if layout is None else layout == "channels_first"
    frames = MemoryFrames(video, channels_first=first, caps=request.config.caps)
    count = frames.count
    metadata, notes = _timed(described, count, request, asked)
    if given is None and (asked.sampling or asked.window_seconds != WHOLE):
        times = frame_times_seconds(metadata, count)
        info = windowed(describe(frames, times.tolist(), None), asked.window_seconds)
        inside = window_frames(info, asked.window_seconds)
        indices, notes = (
            thinned(inside, asked),
            (*notes, *too_few(asked.sampling, len(inside), asked.rate_fps)),
        )
        notes += () if asked.sampling else not_sampled(request.call, _BY_RATE)
        metadata = picked_metadata(metadata, info.frame_times_seconds, indices)
    elif settings.do_sample_frames and given is None:
        indices = stock_indices(count, metadata.fps, settings)
        times, notes = _all_times(metadata, count), (*notes, *_not_of_stock(request))
        metadata = sampled_metadata(metadata, indices)
    else:
        indices, times = np.arange(count), frame_times_seconds(metadata, count)
        # the rate of a call may be that of the frames
        told = ("fps",) if request.call.get("fps") == metadata.fps else ()
        notes += not_sampled(request.call, _ALL if given is None else _PLANNED, but=told)

    def choose(stream: VideoStream) -> FramePlan:
        every = FramePlan.from_indices(indices, stream.info.frame_times_seconds)
        return chosen_frames(stream, given, lambda: every)

    source: dict[str, Any] = {
        "timestamps_seconds": times,
        "channels_first": first,
        "window_seconds": asked.window_seconds,
        "video_stream": asked.video_stream,
    }
    with open_clip(video, request.config, request.tower, choose, **source) as clip:
        assert clip.frames is not None
        if len(clip.frames) < len(indices):
            metadata = sampled_metadata(metadata, clip.frames.indices)
        seconds = len(clip.times_seconds) / metadata.sampled_fps
        yield OpenVideo(clip=clip, metadata=lambda: metadata, video_seconds=seconds, notes=notes)


def _timed(
    described: VideoMetadata | None, count: int, request: Request, asked: Asked
) -> tuple[VideoMetadata, tuple[str, ...]]:
    """The metadata of frames in memory, their rate told by it, by the message, or by the call's fps; with notes."""
    metadata = described or VideoMetadata(total_num_frames=count, frames_indices=list(range(count)))
    rate, notes = asked.rate_fps, tuple[str, ...]()
    if metadata.fps is not None or isinstance(metadata, TimedMetadata):
        if rate is not None:
            notes = (f"the message's rate of {rate:g} fps: not followed, for video_metadata tells the times",)
        return metadata, notes
    called = request.call.get("fps")
    if rate is None and called is not None and not request.settings.do_sample_frames:
        rate = float(called)
        notes = (f"fps={rate:g} is the rate of the frames in memory, for nothing else tells their times",)
    if rate is not None:
        metadata.fps, metadata.duration = rate, count / rate
    elif asked.window_seconds != WHOLE:
        raise FrameError(
            f"The window {asked.window_seconds} is in seconds, and the {count} frames came without times; give "
            "sample_fps in the message, or video_metadata."
        )
    return metadata, notes


def _all_times(metadata: VideoMetadata, count: int) -> Any:
    """Times before sampling, which needs one per frame at hand whatever `frames_indices` said."""
    times = getattr(metadata, "times_seconds", None)
    return np.arange(count) / (metadata.fps or ASSUMED_FPS) if times is None else np.asarray(times)


def _not_of_stock(request: Request) -> tuple[str, ...]:
    """Settings of a call that the stock rule of the family does not read."""
    recipe = family_of_type(request.model_type).recipe
    own = {*recipe.video_values, *(("max_frames",) if recipe.caps_frames else ())}
    return not_sampled(request.call, f"the own sampling of {request.model_type} reads none", but=own)


def _takes_stock_frames(request: Request) -> bool:
    """True where nothing is reduced and nobody chose frames: the checkpoint's own processor then chooses."""
    return request.config.reduces_nothing and request.config.frames.is_left_open


def _file_frames(stream: VideoStream, window: Window, request: Request, notes: list[str]) -> FramePlan:
    settings, call, info = request.settings, request.call, stream.info
    sampling = frames_config(request.config.frames, call)
    inside = window_frames(info, window)
    if call.get("do_sample_frames") is False:
        notes.extend(not_sampled(call, _ALL))
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
        notes.extend(_not_of_stock(request))
        asked = _asked_of_players(info)
        if asked:
            notes.append(
                f"frames are {asked}, as the file asks players to; readers of transformers leave it out"
            )
        return FramePlan.from_indices(inside[chosen], info.frame_times_seconds)
    notes.extend(set_aside(request.model_type, request.settings, request.call, request.config.frames))
    if request.config.reduces_nothing:
        notes.append(
            f"frames: chosen by sampler {request.config.frames.sampler!r} as set, not by the checkpoint's own processor"
        )
    notes.extend(too_few(call, len(inside), info.average_fps))
    frames = sample_frames(info, sampling, window)
    fewest = min(int(call.get("min_frames", 1)), len(inside))
    if len(frames) < fewest:
        notes.append(f"frames: {fewest} evenly spaced, for min_frames asks for more than {len(frames)}")
        return sample_frames(info, FramesConfig().over(sampler="uniform", num_frames=fewest), window)
    return frames


def _asked_of_players(info: VideoInfo) -> str:
    """What was done to the stored pictures before they were shown, empty where nothing."""
    turned = f"turned by {info.rotation_degrees} degrees" if info.rotation_degrees else ""
    mirrored = "mirrored" if info.is_mirrored else ""
    wide = f"stretched (pixels are {info.pixel_aspect:.3g} times as wide as high)"
    stretched = wide if info.pixel_aspect != 1 else ""
    return ", ".join(filter(None, (turned, mirrored, stretched)))
