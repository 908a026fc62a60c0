"""One video through sampling, gate and patches: the functional core of the processor."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers.video_utils import VideoMetadata

from framegate.errors import FrameError
from framegate.models.family import VideoSettings
from framegate.models.towers.patches import BoolArray, Float32Array, Int8Array
from framegate.models.video_processor.cells import CellChoice, Int32Array, choose_cells
from framegate.models.video_processor.clip import Clip, FileClip, FrameClip
from framegate.models.video_processor.cutting import cutter_of
from framegate.models.video_processor.grid_clip import JudgedClip
from framegate.models.video_processor.metadata import frame_times_seconds, sampled_metadata, time_notes
from framegate.models.video_processor.notes import Stopwatch, VideoNotes
from framegate.models.video_processor.resize import paid_size_px, resize_frames, tower_size_px
from framegate.models.video_processor.sampling import file_plan, frames_config, stock_indices
from framegate.models.video_processor.sources import ClipPath, as_frames
from framegate.tokenizers.plan_config import PlanConfig
from framegate.tokenizers.video_stream import open_video
from framegate.tokenizers.video_stream.window import WHOLE, Window, window_bounds, window_frames

# residuals are at most a few thousand, and need four digits
SCORE_PARTS = 4096


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


@dataclass(frozen=True, kw_only=True)
class GatedVideo:
    """One video, ready to be batched.

    Args:
        rows: kept patches, float32 [patches, C * tp * p * p], in tower order; whole frames, float32 [F, C, h, w], where
            a tower pools them and nothing was gated.
        grid_thw: the dense grid, in patches; in cells where the tower pools patches to cells.
        anchor: per cell the tube that stands for it, int32 [T * H * W]; None when everything is kept.
        motion_px: per cell where its anchor lies, float32 [T * H * W, 2]; None when nothing moved.
        scale: per cell the side of the token that stands there, int8 [T * H * W]; None where all are cells.
        score: per cell how much it had changed, in parts of SCORE_PARTS, int32 [T * H * W]; None where nobody reads it.
        times_ms: per tube the time of its first frame, int32 [T]; None where no stage reads it.
        full_size_tokens: tokens before frames were made smaller; None where none were to be.
        metadata: of the frames that went in.
        notes: the account.
    """

    rows: Float32Array
    grid_thw: tuple[int, int, int]
    anchor: Int32Array | None
    motion_px: Float32Array | None
    scale: Int8Array | None
    score: Int32Array | None
    times_ms: Int32Array | None
    full_size_tokens: int | None
    metadata: VideoMetadata
    notes: VideoNotes


def process_video(video: Any, metadata: VideoMetadata | None, request: Request) -> GatedVideo:
    """Sample, gate and cut one video.

    Args:
        video: a path, maybe a ClipPath, or frames as `as_frames` takes them.
        metadata: times of frames in memory; None for paths.
        request: what the call asks for.

    Returns:
        Kept patches, anchors and the account.

    Raises:
        VideoError: the file cannot be read.
        FrameError: frames or times that cannot be used.
        BudgetError: the budget leaves no token.

    Source: ours.
    """
    watch = Stopwatch()
    with _opened(video, metadata, request, watch) as clip:
        settings = request.settings
        judged = clip if settings.judged is None else JudgedClip(clip, settings.judged)
        choice = choose_cells(judged, request.config, settings.cell_layout, watch)
        rows = _rows(clip, _needed_scale(choice, settings), settings, watch)
        return _result(clip, choice, rows, request, watch)


def _needed_scale(choice: CellChoice | None, settings: VideoSettings) -> Int8Array | None:
    """What is cut by cells; None where all of it is wanted, as the stock model takes it."""
    if choice is None:
        return None
    # rows of kept patches and whole frames do not go into one batch
    return choice.scale if settings.judged is not None or bool((choice.scale != 1).any()) else None


@contextmanager
def _opened(video: Any, metadata: VideoMetadata | None, request: Request, watch: Stopwatch) -> Iterator[Clip]:
    if not isinstance(video, str):
        with watch.timing("stream"):
            clip = _frame_clip(video, metadata, request)
        yield clip
        return
    window = video.window_seconds if isinstance(video, ClipPath) else WHOLE
    with watch.timing("stream"):
        stream = open_video(str(video), window_seconds=window)
    with stream:
        yield _file_clip(stream, str(video), window, request)


def _file_clip(stream: Any, source: str, window: Window, request: Request) -> FileClip:
    info = stream.info
    if info.is_live:
        raise FrameError(f"{source!r} is a live source without an end; record a clip of it, or pass frames.")
    sampling = frames_config(request.config.frames, request.call)
    take_all = request.call.get("do_sample_frames") is False
    plan = file_plan(info, sampling, window_seconds=window, take_all=take_all)
    start, end = window_bounds(info, window_frames(info, window), window)
    full_px = tower_size_px(len(plan), info.height_px, info.width_px, request.settings)
    return FileClip(
        source=source,
        stream=stream,
        plan=plan,
        size_px=paid_size_px(full_px, len(plan), request.settings, request.config),
        full_px=full_px,
        tube_frames=request.settings.layout.temporal_patch_size,
        video_seconds=end - start,
    )


def _frame_clip(video: Any, metadata: VideoMetadata | None, request: Request) -> FrameClip:
    settings = request.settings
    frames = as_frames(video, request.call.get("input_data_format"))
    metadata = metadata or VideoMetadata(
        total_num_frames=len(frames), frames_indices=list(range(len(frames)))
    )
    if settings.do_sample_frames:
        indices = stock_indices(len(frames), metadata.fps, settings)
        frames, metadata = frames[indices], sampled_metadata(metadata, indices)
    times_seconds = frame_times_seconds(metadata, len(frames))
    full_px = tower_size_px(len(frames), frames.shape[1], frames.shape[2], settings)
    size_px = paid_size_px(full_px, len(frames), settings, request.config)
    return FrameClip(
        frames=resize_frames(frames, size_px, settings.resample),
        full_px=full_px,
        times_seconds=times_seconds,
        metadata=metadata,
        tube_frames=settings.layout.temporal_patch_size,
        video_seconds=len(frames) / metadata.sampled_fps,
    )


def _rows(clip: Clip, scale: Int8Array | None, settings: VideoSettings, watch: Stopwatch) -> Float32Array:
    """Cut the needed tubes one by one, so that no more than one of them is whole in memory."""
    tubes = -(-len(clip.times_seconds) // settings.layout.temporal_patch_size)
    cutter = cutter_of(tubes, clip.size_px, scale, settings)
    rows = np.empty(cutter.shape, dtype=np.float32)
    done = 0
    needed: BoolArray | None = None if scale is None else np.asarray(scale.any(axis=(1, 2)))
    reader = clip.tubes(needed)
    for number, frames in watch.reading("stream", reader):
        with watch.timing("patches"):
            part = cutter.cut(number, frames)
            rows[done : done + len(part)] = part
            done += len(part)
    return rows[:done]


def _result(
    clip: Clip,
    choice: CellChoice | None,
    rows: Float32Array,
    request: Request,
    watch: Stopwatch,
) -> GatedVideo:
    layout, metadata = request.settings.layout, clip.metadata
    tubes = -(-len(clip.times_seconds) // layout.temporal_patch_size)
    height, width = request.settings.cells_of(clip.size_px)
    cells = tubes * height * width
    full_rows, full_columns = request.settings.cells_of(clip.full_px)
    dense = tubes * full_rows * full_columns
    return GatedVideo(
        rows=rows,
        grid_thw=(tubes, height * layout.merge_size, width * layout.merge_size),
        anchor=choice.anchor.reshape(-1) if choice is not None else None,
        motion_px=_motion(choice, request.config) if choice is not None else None,
        scale=choice.scale.reshape(-1) if choice is not None and bool((choice.scale > 1).any()) else None,
        score=_score(choice, request.config) if choice is not None else None,
        times_ms=_times(clip, request),
        full_size_tokens=dense if request.config.down_scaling else None,
        metadata=metadata,
        notes=VideoNotes(
            source=clip.source,
            video_seconds=clip.video_seconds,
            num_frames=len(clip.times_seconds),
            dense_tokens=dense,
            kept_tokens=cells if choice is None else int(np.count_nonzero(choice.scale)),
            stream_ms=watch.spent_ms["stream"],
            gate_ms=watch.spent_ms["gate"],
            patches_ms=watch.spent_ms["patches"],
            notes=tuple(_notes(clip, choice, metadata, request)),
        ),
    )


def _notes(clip: Clip, choice: CellChoice | None, metadata: VideoMetadata, request: Request) -> list[str]:
    found = [*clip.warnings(), *(choice.notes if choice is not None else ())]
    if request.config.down_scaling:
        (height, width), (full_height, full_width) = clip.size_px, clip.full_px
        found.append(f"down_scaling: frames of {width} x {height} px instead of {full_width} x {full_height}")
    if clip.source is not None and "min_frames" in request.call:
        found.append(
            "min_frames is for frames in memory; it does not change which frames of a file are taken"
        )
    tube_frames = request.settings.layout.temporal_patch_size
    stamped = request.config.timestamps is not None
    return found + time_notes(request.model_type, metadata, tube_frames, stamped=stamped)


def _motion(choice: CellChoice, config: PlanConfig) -> Float32Array | None:
    """Where anchors lie: only anchored context reads it."""
    if not choice.motion_px.any():
        return None
    return choice.motion_px.reshape(-1, 2)


def _times(clip: Clip, request: Request) -> Int32Array | None:
    """When tubes begin, in whole milliseconds, which no cast blurs: the spatiotemporal module reads it."""
    starts = clip.times_seconds[:: request.settings.layout.temporal_patch_size]
    return np.rint(starts * 1000).astype(np.int32)


def _score(choice: CellChoice, config: PlanConfig) -> Int32Array | None:
    """How much cells had changed, in whole parts of SCORE_PARTS: the released code's choice of tokens reads it."""
    return np.rint(choice.residual.reshape(-1) * SCORE_PARTS).astype(np.int32)
