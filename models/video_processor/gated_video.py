"""One video through sampling, gate and patches: the functional core of the processor."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from transformers.video_utils import VideoMetadata

from framegate.models.family import VideoSettings
from framegate.models.towers.grid_geometry import JudgedSize, patches_of_cells
from framegate.models.towers.patches import (
    CHANNELS,
    BoolArray,
    Float32Array,
    PatchLayout,
    patchify,
)
from framegate.models.video_processor.hooks import why_no_stamps
from framegate.models.video_processor.metadata import time_notes
from framegate.models.video_processor.reading import OpenVideo, Request, opened
from framegate.models.video_processor.sources import CarriedVideo
from framegate.tokenizers.clip import Clip
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.packing import Account, fingerprint_of
from framegate.tokenizers.gate.plan import GatePlan
from framegate.tokenizers.gate.video import plan_clip
from framegate.types import UInt8Array

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class GatedVideo:
    """One video, ready to be batched.

    Args:
        rows: kept patches, float32 [patches, C * tp * p * p], in tower order; whole frames, float32 [F, C, h, w], where
            a tower pools them and nothing was gated.
        grid_thw: the dense grid, in patches; in cells where the tower pools patches to cells.
        plan: which cells are encoded; all of them where nothing was gated.
        is_gated: a gate decided, or a plan that was given.
        metadata: of the frames that went in.
        account: what was read and how long it took.
    """

    rows: Float32Array
    grid_thw: tuple[int, int, int]
    plan: GatePlan
    is_gated: bool
    metadata: VideoMetadata
    account: Account


def process_video(video: CarriedVideo, metadata: VideoMetadata | None, request: Request) -> GatedVideo:
    """Sample, gate and cut one video, with the metadata of frames.

    Raises:
        VideoError: the file cannot be read.
        FrameError: frames or times that cannot be used.
        BudgetError: the budget leaves no token.
        PlanError: a plan of another size, length or time.
    """
    watch, given = Stopwatch(), video.asked.plan
    opening = opened(video.source, metadata, request, video.asked)
    with ExitStack() as stack:
        with watch.timing("stream"):
            source = stack.enter_context(opening)
        clip, plan = source.clip, None
        if request.config.gate is not None or isinstance(given, GatePlan):
            with watch.timing("gate", apart_from="stream"):
                plan = plan_clip(
                    clip,
                    request.config,
                    given=given if isinstance(given, GatePlan) else None,
                    reading=lambda frames: watch.reading("stream", frames),
                )
                # the trace of what shows where belongs to the gate's time
                _ = plan.anchor
        rows = _rows(clip, plan, request.settings, watch)
        return _result(source, plan, rows, request, watch)


def _rows(clip: Clip, plan: GatePlan | None, settings: VideoSettings, watch: Stopwatch) -> Float32Array:
    """Cut the needed tubes one by one, so that no more than one of them is whole in memory."""
    keep = None if plan is None else plan.keep
    # what is kept whole is cut as the stock model takes it; rows and whole frames do not go into one batch
    keep = None if keep is None or (settings.judged is None and bool(keep.all())) else keep
    cutter = cutter_of(clip.num_tubes, clip.size_px, keep, settings)
    rows = np.empty(cutter.shape, dtype=np.float32)
    done = 0
    needed = None if keep is None else np.asarray(keep.any(axis=(1, 2)))
    for number, frames in watch.reading("stream", clip.tubes(needed)):
        with watch.timing("patches"):
            part = cutter.cut(number, frames)
            rows[done : done + len(part)] = part
            done += len(part)
    return rows[:done]


def _result(
    source: OpenVideo, plan: GatePlan | None, rows: Float32Array, request: Request, watch: Stopwatch
) -> GatedVideo:
    clip, layout = source.clip, request.settings.layout
    metadata = source.metadata()
    height, width = request.settings.cells_of(clip.size_px)
    aside = why_no_stamps(request.model_type, request.config)
    notes = (
        *source.notes,
        *(() if aside is None else (aside,)),
        *time_notes(request.model_type, metadata, clip.tube_frames, stamped=request.is_stamped),
    )
    if plan is None:
        whole = _whole_plan(clip)
        decided = replace(whole, notes=(*clip.warnings, *whole.notes, *notes))
    else:
        decided = replace(plan, notes=(*plan.notes, *notes))
    return GatedVideo(
        rows=rows,
        grid_thw=(clip.num_tubes, height * layout.merge_size, width * layout.merge_size),
        plan=decided,
        is_gated=plan is not None,
        metadata=metadata,
        account=Account(
            preset=request.config.preset,
            fingerprint=fingerprint_of(request.config),
            shares=dict(request.config.shares),
            source=None if clip.stream.in_memory else str(clip.info.source),
            video_seconds=source.video_seconds,
            num_frames=len(clip.times_seconds),
            stream_ms=watch.spent_ms["stream"],
            gate_ms=watch.spent_ms["gate"],
            patches_ms=watch.spent_ms["patches"],
        ),
    )


def _whole_plan(clip: Clip) -> GatePlan:
    """Every cell its own: what a video without a gate comes to; nothing is judged."""
    grid = CellGrid.of(*clip.judged_px, cell_px=clip.cell_px, tube_frames=clip.tube_frames)
    plan = GatePlan.still(np.ones((clip.num_tubes, grid.rows, grid.columns), bool), grid)
    full = clip.full_px or clip.size_px
    scaled = full != clip.size_px
    note = (
        f"down_scaling: frames of {clip.size_px[1]} x {clip.size_px[0]} px instead of {full[1]} x {full[0]}"
    )
    return replace(
        plan,
        timestamps_seconds=clip.times_seconds[:: clip.tube_frames],
        notes=(note,) if scaled else (),
        dense_cells=clip.num_tubes * (full[0] // clip.cell_px) * (full[1] // clip.cell_px)
        if scaled
        else None,
    )


class Stopwatch:
    """Adds up the wall time of named stages, in milliseconds."""

    def __init__(self) -> None:
        self.spent_ms = {"stream": 0.0, "gate": 0.0, "patches": 0.0}

    @contextmanager
    def timing(self, stage: str, *, apart_from: str | None = None) -> Iterator[None]:
        """Add the time of a block to a stage, without what another stage spends inside the block."""
        start, elsewhere = time.perf_counter(), self._spent(apart_from)
        try:
            yield
        finally:
            elapsed_ms = (time.perf_counter() - start) * 1e3
            self.spent_ms[stage] += elapsed_ms - (self._spent(apart_from) - elsewhere)

    def reading(self, stage: str, items: Iterable[T]) -> Iterator[T]:
        """Pass items on, the time of getting each added to a stage."""
        iterator = iter(items)
        while True:
            with self.timing(stage):
                item = next(iterator, self)
            if item is self:
                return
            yield item  # type: ignore[misc]

    def _spent(self, stage: str | None) -> float:
        return self.spent_ms[stage] if stage is not None else 0.0


def packed_batch(videos: list[GatedVideo], processor: str) -> Mapping[str, np.ndarray[Any, Any]]:
    """Write the plans of a call's videos for the way to the model, where a gate ran on any, and their notes.

    `processor` is the id of the attachment that made them, by which a front end finds it.
    """
    packed = [video.plan.pack(replace(video.account, processor=processor)) for video in videos]
    keys = packed[0]._fields if any(video.is_gated for video in videos) else ("framegate_notes",)
    return {key: np.concatenate([getattr(part, key) for part in packed]) for key in keys}


class Cutter(NamedTuple):
    """How the tubes of a clip become what a tower reads.

    Args:
        shape: of what all tubes give together.
        cut: number and frames of a tube to its part of that, float32.
    """

    shape: tuple[int, ...]
    cut: Callable[[int, UInt8Array], Float32Array]


def cutter_of(
    num_tubes: int, size_px: tuple[int, int], keep: BoolArray | None, settings: VideoSettings
) -> Cutter:
    """Choose how a family's clips are cut, by kept cells, bool [T, H, W]; None where nothing was skipped."""
    if settings.judged is None:
        return _packed(num_tubes, size_px, keep, settings.layout)
    if keep is None:
        whole = (num_tubes, CHANNELS, *size_px)
        return Cutter(whole, lambda _, frames: _whole(frames, settings.layout))
    return _grid(keep, settings.layout, settings.judged)


def _packed(num_tubes: int, size_px: tuple[int, int], keep: BoolArray | None, layout: PatchLayout) -> Cutter:
    """Patches of kept cells, or of all."""
    dense = num_tubes * (size_px[0] // layout.cell_px) * (size_px[1] // layout.cell_px)
    cells = dense if keep is None else int(np.count_nonzero(keep))

    def cut(number: int, frames: UInt8Array) -> Float32Array:
        return patchify(frames, layout, None if keep is None else keep[number : number + 1])

    return Cutter((cells * layout.patches_per_cell, layout.patch_dim), cut)


def _grid(keep: BoolArray, layout: PatchLayout, size: JudgedSize) -> Cutter:
    """Patches that kept cells read."""
    side = size.seen_px // layout.patch_size_px
    needed: BoolArray = patches_of_cells(torch.from_numpy(keep), side).numpy()

    def cut(number: int, frames: UInt8Array) -> Float32Array:
        seen = frames[:, : size.seen_px, : size.seen_px]
        return patchify(seen, layout, needed[number : number + 1])

    return Cutter((int(needed.sum()), layout.patch_dim), cut)


def _whole(frames: UInt8Array, layout: PatchLayout) -> Float32Array:
    """Frames scaled as the stock processor does: uint8 [f, h, w, 3] -> float32 [f, 3, h, w]."""
    mean, std = layout.scaling()
    pixels = (frames.astype(np.float32) - mean) / std
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
