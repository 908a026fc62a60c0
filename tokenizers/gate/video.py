"""Plans of videos: one road on which a source is opened, windowed, sampled, sized, judged and planned."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from framegate.errors import ConfigError, FrameError, PlanError
from framegate.tokenizers.clip import Clip, VideoStream, open_video
from framegate.tokenizers.clip.address import SCHEME, fetched
from framegate.tokenizers.clip.clip import Judged
from framegate.tokenizers.clip.pixels import Resample, Size, rgb
from framegate.tokenizers.clip.same_video import SAME_TIME_SECONDS, check_same_video
from framegate.tokenizers.clip.window import WHOLE, Window, window_bounds, window_end_seconds, window_frames
from framegate.tokenizers.gate.grid import CellGrid, grid_for, one_size_notes, scaled_px, tubes_of
from framegate.tokenizers.gate.held import plan_after
from framegate.tokenizers.gate.plan import GatePlan
from framegate.tokenizers.gate.planners import never, plan_gate, progress_bar
from framegate.tokenizers.gate.replay import whole_plan
from framegate.tokenizers.plan_config import PlanConfig
from framegate.tokenizers.samplers import sample_frames
from framegate.types import Float64Array, FramePlan, UInt8Array, VideoInfo

Pixels = Iterable[UInt8Array]
Given = FramePlan | GatePlan | None


@dataclass(frozen=True, kw_only=True)
class TowerView:
    """How a tower takes videos.

    Args:
        cell_px: side of a cell as the gate judges it.
        tube_frames: frames of a tube.
        size_px: video and number of frames to height and width.
        scaled_px: video and number of frames to the height and width at whose middle the tower looks, or, where that is
            less than size_px, that lies at the top left of a black frame; None where frames fill size_px.
        squeezes: what was scaled so is scaled once more instead, to size_px.
        resample: how frames are brought to that size.
        judged: crop and scale before the gate; None judges whole frames.
    """

    cell_px: int
    tube_frames: int
    size_px: Callable[[VideoInfo, int], Size]
    scaled_px: Callable[[VideoInfo, int], Size] | None = None
    squeezes: bool = False
    resample: Resample = "area"
    judged: Judged | None = None

    @classmethod
    def about(cls, width_px: int, *, cell_px: int, tube_frames: int) -> TowerView:
        """A tower without a rule of its own: frames about so wide, their own aspect, whole cells."""

        def size_px(info: VideoInfo, _num_frames: int) -> Size:
            grid = grid_for(info, width_px=width_px, cell_px=cell_px, tube_frames=tube_frames)
            return grid.height_px, grid.width_px

        return cls(cell_px=cell_px, tube_frames=tube_frames, size_px=size_px)


@contextmanager
def open_clip(
    source: Any,
    config: PlanConfig,
    tower: TowerView,
    choose: Callable[[VideoStream], FramePlan],
    *,
    window_seconds: Window = WHOLE,
    show_progress: bool = False,
    **described: Any,
) -> Iterator[Clip]:
    """Open a video as a tower takes it: sampled, and at the size that the tower or the budget asks for.

    Args:
        source: what `open_video` takes, without an end of its own.
        config: budget, where it is met by smaller frames.
        tower: size rule and cells.
        choose: picks the frames.
        window_seconds: clip window.
        show_progress: draw bars on a terminal.
        described: times and layout of frames in memory, as `open_video` takes them.

    Raises:
        VideoError: the source cannot be read.
        FrameError: a live source, or frames that cannot be used.
        BudgetError: less than one token per tube, where frames are made smaller.
        CapError: beyond the configuration's caps.
    """
    if isinstance(source, str) and SCHEME.match(source):
        raise FrameError(
            f"{source} is live and has no end to plan for; record a clip, or gate it as it comes with "
            "framegate.gate_stream."
        )
    caps = config.caps
    with open_video(source, window_seconds=window_seconds, caps=caps, **described) as stream:
        name = "The video in memory" if stream.in_memory else repr(str(stream.info.source))
        inside = window_frames(stream.info, window_seconds)
        start, end = window_bounds(stream.info, inside, window_seconds)
        caps.check_seconds(end - start, name)
        frames = choose(stream)
        caps.check_frames(len(frames), name)
        full_px = tower.size_px(stream.info, len(frames))
        yield Clip(
            stream=stream,
            frames=frames,
            size_px=_paid_px(full_px, len(frames), config, tower),
            full_px=full_px,
            scaled_px=None if tower.scaled_px is None else tower.scaled_px(stream.info, len(frames)),
            squeezes=tower.squeezes,
            cell_px=tower.cell_px,
            tube_frames=tower.tube_frames,
            resample=tower.resample,
            judged=tower.judged,
            show_progress=show_progress,
        )


def plan_clip(
    clip: Clip,
    config: PlanConfig,
    *,
    given: GatePlan | None = None,
    before: GatePlan | None = None,
    reading: Callable[[Pixels], Pixels] = iter,
) -> GatePlan:
    """Decide which cells of an open clip are encoded.

    Args:
        clip: read once, in the pixels that decide.
        config: gate and budget; without a gate every cell is encoded.
        given: a plan made before, which is checked against the clip instead.
        before: a plan of other frames of the same video; tubes of it that come back keep their cells.
        reading: passes the pixels on; whoever measures time stands here.

    Returns:
        The plan, without a way to its frames (`open_frames`).

    Raises:
        BudgetError: the budget is below one token.
        PlanError: a plan of another size, length or time, or a plan before that does not know its frames.
        VideoError: the file cannot be read.
    """
    grid = CellGrid.of(*clip.judged_px, cell_px=clip.cell_px, tube_frames=clip.tube_frames)
    if given is not None:
        return _checked(given, clip, grid)
    pixels = reading(clip.pixels(config.judged_format))
    if config.gate is None:
        plan = whole_plan(tubes_of(pixels, grid.tube_frames), grid)
    else:
        forced = clip.has_codec_keyframe if config.gate.codec_keyframes else never
        with progress_bar(show=clip.show_progress) as progress:
            how: Any = {"forced_keyframe": forced, "progress": progress}
            if before is None:
                plan = plan_gate(pixels, grid, config.gate, config.budget, **how)
            else:
                assert clip.frames is not None
                plan = plan_after(before, clip.frames, pixels, grid, config.gate, config.budget, **how)
    small, full = clip.size_px, clip.full_px or clip.size_px
    dense = None
    if small != full:
        dense = len(plan.keep) * (full[0] // clip.cell_px) * (full[1] // clip.cell_px)
    return replace(
        plan,
        timestamps_seconds=clip.times_seconds[:: clip.tube_frames],
        frames=clip.frames,
        notes=(*clip.warnings, *plan.notes, *_scaled_note(full, small), *_codec_note(config, clip)),
        dense_cells=dense,
    )


def plan_video(
    video: Any,
    config: PlanConfig,
    *,
    tower: TowerView,
    window_seconds: Window = WHOLE,
    given: Given = None,
    before: GatePlan | None = None,
    video_stream: int | None = None,
    show_progress: bool = False,
) -> GatePlan:
    """Decide which cells of a video would be encoded; it is decoded once, as a stream of what the gate judges.

    Args:
        video: what `open_video` takes, without an end of its own; frames in memory are all used, and
            `config.frames.fps` labels their times.
        config: frames, gate and budget.
        tower: size rule and cells.
        window_seconds: clip window.
        given: the frames to use, or a plan to bring together with its video.
        before: as `plan_clip`.
        video_stream: number of a file's video stream, as `open_video` takes it.
        show_progress: draw a progress bar on a terminal.

    Returns:
        The plan; it holds the path and the frames' numbers, or the frames given, and no other pixels.

    Raises:
        VideoError: the file cannot be read.
        FrameError: frames of a wrong shape, smaller than one cell, not finite, or with times that go back, or frames
            planned for another video.
        BudgetError: the budget is below one token.
        PlanError: a plan of another size, length or time.
        CapError: beyond the configuration's caps.
    """
    # fetched once, for the plan reads it again
    video = fetched(video, config.caps)
    described = {} if _is_file(video) else {"fps": config.frames.fps}

    def choose(stream: VideoStream) -> FramePlan:
        return chosen_frames(stream, given, lambda: sampled_frames(stream, config, window_seconds))

    settings: dict[str, Any] = {
        "window_seconds": window_seconds,
        "show_progress": show_progress,
        "video_stream": video_stream,
        **described,
    }
    with open_clip(video, config, tower, choose, **settings) as clip:
        plan = plan_clip(clip, config, given=given if isinstance(given, GatePlan) else None, before=before)
        frames, end = clip.frames, window_end_seconds(clip.info, window_seconds)
    assert frames is not None

    def source() -> Iterator[UInt8Array]:
        with open_clip(
            video, config, tower, lambda _: frames, **settings | {"show_progress": False}
        ) as again:
            yield from again.judged_frames()

    told = () if isinstance(given, GatePlan) else one_size_notes(frames)
    notes = (*plan.notes, *told, *config.later_notes)
    return replace(plan, frames=frames, end_seconds=end, open_frames=source, notes=notes)


def plan_frames_array(
    frames: UInt8Array,
    timestamps_seconds: Float64Array | None = None,
    *,
    config: PlanConfig,
    cell_px: int,
    tube_frames: int,
) -> GatePlan:
    """Decide which cells of frames at tower size are encoded; nothing is resized.

    frames: uint8 [F, h, w, 3] RGB or [F, h, w] luma, h and w multiples of cell_px, to which the plan refers; times
    float64 [F], None counts them at `config.frames.fps`.

    Raises:
        FrameError: another shape or type, no frame, sizes that are no multiples of cell_px, a wrong number of times.
        BudgetError: the budget is below one token.
        ConfigError: down-scaling, which resizes.
    """
    if config.down_scaling:
        raise ConfigError(
            "down_scaling makes frames smaller, and frames at tower size are taken as they are."
        )
    frames = np.asarray(frames)
    _check_frames(frames)
    CellGrid.of(frames.shape[1], frames.shape[2], cell_px=cell_px, tube_frames=tube_frames)
    timed: dict[str, Any] = {"fps": config.frames.fps}
    if timestamps_seconds is not None:
        timed = {"timestamps_seconds": np.asarray(timestamps_seconds)}
    size_px = (frames.shape[1], frames.shape[2])
    tower = TowerView(cell_px=cell_px, tube_frames=tube_frames, size_px=lambda *_: size_px)
    with open_clip(frames, config, tower, all_frames, **timed) as clip:
        plan = plan_clip(clip, config)
    return replace(plan, open_frames=lambda: map(rgb, frames))


def all_frames(stream: VideoStream, window_seconds: Window = WHOLE) -> FramePlan:
    """Every frame of a window."""
    info = stream.info
    return FramePlan.from_indices(window_frames(info, window_seconds), info.frame_times_seconds)


def sampled_frames(stream: VideoStream, config: PlanConfig, window_seconds: Window) -> FramePlan:
    """The frames the sampler takes of a file; all of them when the caller gave frames."""
    if stream.in_memory:
        return all_frames(stream, window_seconds)
    return sample_frames(stream.info, config.frames, window_seconds)


def chosen_frames(stream: VideoStream, given: Given, otherwise: Callable[[], FramePlan]) -> FramePlan:
    """Take the frames that a plan names, else choose; FrameError where this video has not those, or at other times."""
    frames = given.frames if isinstance(given, GatePlan) else given
    if frames is None:
        return otherwise()
    if not isinstance(frames, FramePlan):
        raise FrameError(f"plan is a {type(given).__name__}; give a FramePlan or a GatePlan.")
    check_same_video(frames, stream.info)
    return frames


def _is_file(video: Any) -> bool:
    return isinstance(video, str | bytes) or hasattr(video, "__fspath__")


def _paid_px(full_px: Size, num_frames: int, config: PlanConfig, tower: TowerView) -> Size:
    """The size that the budget pays for; a size rule's lower bound does not hold below the budget."""
    if not config.down_scaling:
        return full_px
    tubes = -(-num_frames // tower.tube_frames)
    cells = (full_px[0] // tower.cell_px) * (full_px[1] // tower.cell_px)
    return scaled_px(
        full_px, cell_px=tower.cell_px, num_tubes=tubes, tokens=config.budget.most(tubes * cells)
    )


def _checked(plan: GatePlan, clip: Clip, grid: CellGrid) -> GatePlan:
    """A plan made before, after a look whether it is this clip's."""
    if (plan.grid.height_px, plan.grid.width_px, plan.cell_px) != (
        grid.height_px,
        grid.width_px,
        grid.cell_px,
    ):
        raise PlanError(
            f"The plan is for frames of {plan.width_px} x {plan.height_px} px in cells of {plan.cell_px} px; here "
            f"they are {grid.width_px} x {grid.height_px} px in cells of {grid.cell_px} px. Plan with processor=, or "
            "the model's family=."
        )
    if (len(plan.keep), plan.tube_frames) != (clip.num_tubes, grid.tube_frames):
        raise PlanError(
            f"The plan has {len(plan.keep)} tubes of {plan.tube_frames} frames; this clip has {clip.num_tubes} of "
            f"{grid.tube_frames}. Give the video, window and frames that were planned."
        )
    times = clip.times_seconds[:: clip.tube_frames]
    told = np.isfinite(plan.timestamps_seconds)
    if not np.allclose(times[told], plan.timestamps_seconds[told], rtol=0, atol=SAME_TIME_SECONDS):
        raise PlanError(
            f"The plan's tubes begin at {plan.timestamps_seconds[:4].round(3).tolist()} s, this clip's at "
            f"{times[:4].round(3).tolist()} s. Give the video that was planned."
        )
    return plan


def _scaled_note(full_px: Size, size_px: Size) -> tuple[str, ...]:
    if size_px == full_px:
        return ()
    return (f"down_scaling: frames of {size_px[1]} x {size_px[0]} px instead of {full_px[1]} x {full_px[0]}",)


def _codec_note(config: PlanConfig, clip: Clip) -> tuple[str, ...]:
    if config.gate is None or not config.gate.codec_keyframes or clip.knows_codec_keyframes:
        return ()
    return ("codec_keyframes stands aside: the source does not say which frames are the codec's keyframes",)


def _check_frames(frames: UInt8Array) -> None:
    is_rgb = frames.ndim == 4 and frames.shape[-1] == 3
    if frames.dtype != np.uint8 or not (is_rgb or frames.ndim == 3) or 0 in frames.shape:
        raise FrameError(
            f"Frames are {frames.dtype} {list(frames.shape)}; give at least one, as uint8 [F, h, w, 3] RGB or "
            "[F, h, w] luma."
        )
