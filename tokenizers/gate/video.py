"""Plans of whole videos: where the stream, the sampler and the gate meet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from framegate.errors import ConfigError, FrameError
from framegate.tokenizers.down_scaling import scaled_px
from framegate.tokenizers.gate.gate import plan_gate
from framegate.tokenizers.gate.grid import CellGrid, tubes_of
from framegate.tokenizers.gate.plan import GatePlan
from framegate.tokenizers.gate.replay import whole_plan
from framegate.tokenizers.plan_config import PlanConfig
from framegate.tokenizers.samplers.registry import sample_frames
from framegate.tokenizers.video_stream import VideoStream, open_video
from framegate.types import Float64Array, Frame, FramePlan, UInt8Array, VideoInfo

Window = tuple[float | None, float | None]


def plan_video(
    video: Any,
    config: PlanConfig,
    *,
    window_seconds: Window = (None, None),
    width_px: int = 448,
    cell_px: int = 28,
    tube_frames: int = 1,
    size_px: Callable[[VideoInfo, int], tuple[int, int]] | None = None,
    show_progress: bool = False,
) -> GatePlan:
    """Decide which cells of a video would be encoded; it is decoded once, as a stream of luma.

    Args:
        video: path, or frames in memory, uint8 [F, h, w, 3] RGB; all of those are used, and
            `config.frames.fps` labels their times.
        config: frames, gate and budget.
        window_seconds: start and end of the clip window, None for the beginning or the end.
        width_px: width the frames are judged at, brought to the nearest multiple of cell_px; the height
            follows.
        cell_px: side of a cell.
        tube_frames: frames per tube.
        size_px: a tower's own rule, video and number of frames to height and width; None goes by width_px.
        show_progress: draw a progress bar on a terminal.

    Returns:
        The plan; it holds the path and the frames' numbers, or the frames given, and no other pixels.

    Raises:
        VideoError: the file cannot be read.
        FrameError: frames of a wrong shape, smaller than one cell, not finite, or with times that go back.
        BudgetError: the budget is below one token.

    Source: ours.
    """
    with _opened(video, config, window_seconds) as stream:
        chosen = _chosen(stream, config, window_seconds, in_memory=_is_memory(stream.info))
        total = stream.info.num_frames if chosen is None else len(chosen)
        if size_px is None:
            grid = grid_for(stream.info, width_px=width_px, cell_px=cell_px, tube_frames=tube_frames)
        else:
            grid = CellGrid.of(*size_px(stream.info, total), cell_px=cell_px, tube_frames=tube_frames)
        full, grid = grid, _scaled(grid, total, config)
        judged_px = (grid.height_px, grid.width_px)
        frames = stream.frames(chosen, size_px=judged_px, pixel_format=config.judged_format)
        seen = _Seen(
            tqdm(frames, total=total, unit="frame", leave=False, disable=None if show_progress else True)
        )
        codec_keyframes = stream.codec_keyframes if _wants_codec_keyframes(config) else np.zeros(0, np.int64)
        run = _run(seen, grid, config, lambda tube: seen.holds(codec_keyframes, tube, tube_frames))
        notes = (
            *(chosen.notes if chosen else ()),
            *_scaled_note(full, grid),
            *run.notes,
            *stream.warnings,
            *_codec_note(config, codec_keyframes),
            *_later_note(config),
        )

    def source() -> Iterator[UInt8Array]:
        with _opened(video, config, window_seconds) as again:
            yield from (frame.pixels for frame in again.frames(chosen, size_px=judged_px))

    dense_cells = None if grid == full else len(run.keep) * full.num_cells
    return replace(
        run,
        timestamps_seconds=np.array(seen.times_seconds, np.float64)[::tube_frames],
        notes=notes,
        dense_cells=dense_cells,
        open_frames=source,
    )


def plan_frames_array(
    frames: UInt8Array,
    timestamps_seconds: Float64Array | None = None,
    *,
    config: PlanConfig,
    cell_px: int,
    tube_frames: int,
) -> GatePlan:
    """Decide which cells of frames at tower size are encoded; nothing is resized.

    Args:
        frames: uint8 [F, h, w, 3] RGB, or [F, h, w] luma, with h and w multiples of cell_px; the plan refers
            to it.
        timestamps_seconds: time of each frame, float64 [F]; None counts them at `config.frames.fps`.
        config: gate and budget.
        cell_px: side of a cell.
        tube_frames: frames per tube; a last tube that is not full repeats the last frame.

    Returns:
        The plan.

    Raises:
        FrameError: another shape or type, no frame, sizes that are no multiples of cell_px, a wrong number of
        times. BudgetError: the budget is below one token. ConfigError: down-scaling, which resizes.

    Source: ours.
    """
    if config.down_scaling:
        raise ConfigError(
            "down_scaling makes frames smaller, and frames at tower size are taken as they are."
        )
    frames = np.asarray(frames)
    _check_frames(frames)
    grid = CellGrid.of(frames.shape[1], frames.shape[2], cell_px=cell_px, tube_frames=tube_frames)
    times = (
        np.arange(len(frames)) / config.frames.fps
        if timestamps_seconds is None
        else np.asarray(timestamps_seconds)
    )
    if times.shape != (len(frames),):
        raise FrameError(
            f"timestamps_seconds has shape {times.shape} for {len(frames)} frames; give one per frame."
        )
    judged = as_rgb if config.judged_format == "rgb24" else as_luma
    run = _run((judged(frame) for frame in frames), grid, config, lambda _: False)
    notes = (*run.notes, *_codec_note(config, np.zeros(0, np.int64)))
    return replace(
        run,
        timestamps_seconds=times.astype(np.float64)[::tube_frames],
        notes=notes,
        open_frames=lambda: map(as_rgb, frames),
    )


def grid_for(info: VideoInfo, *, width_px: int, cell_px: int, tube_frames: int) -> CellGrid:
    """Choose the size a video is judged at: about width_px wide, its own aspect, whole cells.

    Args:
        info: the video.
        width_px: wanted width, at least one cell.
        cell_px: side of a cell.
        tube_frames: frames per tube.

    Returns:
        The grid.

    Raises:
        ConfigError: a length or count that is no whole number of at least 1.
        FrameError: the video, or width_px, is smaller than one cell.

    Source: ours.
    """
    for name, value in (("width_px", width_px), ("cell_px", cell_px), ("tube_frames", tube_frames)):
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f"{name} is {value!r}; it must be a whole number of at least 1.")
    if min(info.width_px, info.height_px, width_px) < cell_px:
        raise FrameError(
            f"{info.source or 'The frames in memory'}: {info.width_px} x {info.height_px} px, judged {width_px} px "
            f"wide, is smaller than one cell of {cell_px} x {cell_px} px; give larger frames, or a smaller cell_px."
        )
    columns = max(1, round(width_px / cell_px))
    rows = max(1, round(columns * info.height_px / info.width_px))
    return CellGrid.of(rows * cell_px, columns * cell_px, cell_px=cell_px, tube_frames=tube_frames)


def _scaled(grid: CellGrid, num_frames: int | None, config: PlanConfig) -> CellGrid:
    """The grid of the frames that down-scaling leaves."""
    if not config.down_scaling or num_frames is None:
        return grid
    tubes = -(-num_frames // grid.tube_frames)
    size_px = scaled_px(
        (grid.height_px, grid.width_px),
        cell_px=grid.cell_px,
        num_tubes=tubes,
        tokens=config.budget.most(tubes * grid.num_cells),
    )
    return CellGrid.of(*size_px, cell_px=grid.cell_px, tube_frames=grid.tube_frames)


def _scaled_note(full: CellGrid, grid: CellGrid) -> tuple[str, ...]:
    if grid == full:
        return ()
    return (
        f"down_scaling: frames of {grid.width_px} x {grid.height_px} px instead of {full.width_px} x {full.height_px}",
    )


def as_luma(frame: UInt8Array) -> UInt8Array:
    """Luma of a frame: uint8 [h, w, 3] RGB or [h, w] luma -> [h, w]."""
    return frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)


def as_rgb(frame: UInt8Array) -> UInt8Array:
    """A frame with three channels: uint8 [h, w, 3] RGB or [h, w] luma -> [h, w, 3]."""
    return frame if frame.ndim == 3 else np.repeat(frame[:, :, None], 3, axis=2)


def _run(
    pixels: Iterable[UInt8Array],
    grid: CellGrid,
    config: PlanConfig,
    forced_keyframe: Callable[[int], bool],
) -> GatePlan:
    if config.gate is None:
        return whole_plan(tubes_of(pixels, grid.tube_frames), grid)
    return plan_gate(pixels, grid, config.gate, config.budget, forced_keyframe=forced_keyframe)


class _Seen:
    """Passes frames on and remembers their numbers and times: a damaged file may give fewer than planned."""

    def __init__(self, frames: Iterable[Frame]) -> None:
        self._frames = frames
        self.times_seconds: list[float] = []
        self._indices: list[int] = []

    def __iter__(self) -> Iterator[UInt8Array]:
        for frame in self._frames:
            self.times_seconds.append(frame.timestamp_seconds)
            self._indices.append(frame.index)
            yield frame.pixels

    def holds(self, keyframes: np.ndarray[Any, np.dtype[np.int64]], tube: int, tube_frames: int) -> bool:
        """Tell whether a keyframe of the codec was passed since the tube before."""
        end = min((tube + 1) * tube_frames, len(self._indices)) - 1
        before = self._indices[tube * tube_frames - 1] if tube else -1
        return bool(np.any((keyframes > before) & (keyframes <= self._indices[end])))


def _opened(video: Any, config: PlanConfig, window_seconds: Window) -> VideoStream:
    is_file = isinstance(video, str) or hasattr(video, "__fspath__")
    stream = open_video(video, window_seconds=window_seconds, fps=None if is_file else config.frames.fps)
    if stream.info.is_live:
        stream.close()
        raise FrameError(
            f"{video} is live and has no end to plan for; record a clip, or gate it as it comes with "
            "framegate.gate_stream."
        )
    return stream


def _is_memory(info: VideoInfo) -> bool:
    return info.source is None


def _chosen(stream: VideoStream, config: PlanConfig, window: Window, *, in_memory: bool) -> FramePlan | None:
    """The frames the sampler takes; None, for all of them, when the caller gave frames."""
    if in_memory:
        return None
    return sample_frames(stream.info, config.frames, window)


def _wants_codec_keyframes(config: PlanConfig) -> bool:
    return config.gate is not None and config.gate.codec_keyframes


def _codec_note(config: PlanConfig, keyframes: np.ndarray[Any, np.dtype[np.int64]]) -> tuple[str, ...]:
    if not _wants_codec_keyframes(config) or len(keyframes):
        return ()
    return ("codec_keyframes stands aside: the source does not say which frames are the codec's keyframes",)


def _later_note(config: PlanConfig) -> tuple[str, ...]:
    """A plan without a model ends at the tower's door."""
    later = config.later_stages
    if not later:
        return ()
    enters = "what is embedded anew; every token enters it" if config.reuses else "what enters it"
    verb = "reduces" if len(later) == 1 else "reduce"
    return (
        f"{' and '.join(later)} {verb} further after the tower, on its features: the plan shows {enters}",
    )


def _check_frames(frames: UInt8Array) -> None:
    is_rgb = frames.ndim == 4 and frames.shape[-1] == 3
    if frames.dtype != np.uint8 or not (is_rgb or frames.ndim == 3) or 0 in frames.shape:
        raise FrameError(
            f"Frames are {frames.dtype} {list(frames.shape)}; give at least one, as uint8 [F, h, w, 3] RGB or "
            "[F, h, w] luma."
        )
