"""The gate on a stream: tube by tube as it comes, causal, capped, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from framegate.errors import BudgetError, ConfigError, FrameError
from framegate.tokenizers.cell_rules import cell_rule, cell_rule_names
from framegate.tokenizers.clip import Clip, VideoStream
from framegate.tokenizers.clip.pixels import Resample, luma
from framegate.tokenizers.gate.config import MOTION_RULE, GateConfig
from framegate.tokenizers.gate.grid import CellGrid, grid_for, one_size_notes, tubes_of
from framegate.tokenizers.gate.plan import GatePlan
from framegate.tokenizers.gate.planners import usable_config
from framegate.tokenizers.gate.planners.rules import RuleScan
from framegate.tokenizers.gate.scan import GateRules, GateScan, moving_scan
from framegate.tokenizers.gate.spending import highest
from framegate.tokenizers.plan_config import PlanConfig
from framegate.tokenizers.samplers import sample_frames
from framegate.types import BoolArray, UInt8Array


def gate_stream(
    stream: VideoStream,
    config: PlanConfig,
    *,
    width_px: int = 448,
    cell_px: int = 28,
    tube_frames: int = 1,
    resample: Resample = "area",
) -> Iterator[GatePlan]:
    """Gate a video as it is read, a camera's or a file's.

    One causal pass with the threshold, with camera motion where the configuration allows it. With
    `max_video_tokens` the stream ends when the cap is spent; the last tube then keeps its most changed cells.

    Args:
        stream: an open stream; a live one is thinned out by its own `live_fps`, a file is sampled by `config.frames`.
        config: gate and cap.
        width_px: width the frames are judged and handed over at; the height follows, both multiples of cell_px.
        cell_px: side of a cell.
        tube_frames: frames per tube; a last tube that is not full repeats its last frame.
        resample: how frames are brought to that size.

    Returns:
        Iterator over the plans of single tubes, in order of time, each with its frames (`source_frames()`) and which
        they are (`frames`); `GatePlan.concatenate` joins them. What stands aside is told in `stream.warnings`.

    Raises:
        BudgetError: keep_ratio below 1, an exact budget, which a stream without a known end cannot meet.
        FrameError: the video is smaller than one cell, or is not open.
        VideoError: nothing can be decoded.
        ConfigError: down-scaling, or a rule without a threshold, both of which need the whole video.

    Source: GRT (arXiv 2509.14199) section 3, for the pass by threshold.
    """
    if not isinstance(stream, VideoStream):
        raise FrameError(
            f"stream is a {type(stream).__name__}; open the video first, framegate.open_video(...), and give that."
        )
    if config.budget.keep_ratio not in (None, 1.0):
        raise BudgetError(
            f"keep_ratio={config.budget.keep_ratio} is an exact budget and needs the whole video; a stream takes "
            "max_video_tokens, a cap, or a threshold."
        )
    _check_causal(config)
    grid = grid_for(stream.info, width_px=width_px, cell_px=cell_px, tube_frames=tube_frames)
    frames = None if stream.info.is_live else sample_frames(stream.info, config.frames)
    stream.warnings.extend((*frames.notes, *one_size_notes(frames)) if frames is not None else ())
    size_px = (grid.height_px, grid.width_px)
    clip = Clip(
        stream=stream,
        frames=frames,
        size_px=size_px,
        cell_px=cell_px,
        tube_frames=tube_frames,
        resample=resample,
    )
    return _gated(clip, grid, config.gate, config.budget.max_tokens)


def _check_causal(config: PlanConfig) -> None:
    """Refuse what decides on the whole video at once."""
    gate = config.gate
    if config.down_scaling:
        what = "down_scaling"
    elif gate is not None and not gate.has_threshold:
        what = f"gate.rule {gate.rule!r} without a threshold"
    else:
        return
    able = [MOTION_RULE, *(name for name in cell_rule_names() if cell_rule(name).threshold is not None)]
    raise ConfigError(f"{what} needs the whole video; a stream takes a rule with a threshold, one of {able}.")


def _gated(clip: Clip, grid: CellGrid, gate: GateConfig | None, max_tokens: int | None) -> Iterator[GatePlan]:
    scan, kept, warnings = _scan(clip, grid, gate), 0, clip.stream.warnings
    codec = gate is not None and gate.codec_keyframes
    for number, frames in enumerate(tubes_of(clip.pixels("rgb24"), grid.tube_frames)):
        plan = _decided(scan, frames, grid, forced=codec and clip.has_codec_keyframe(number))
        if max_tokens is not None:
            plan = replace(plan, keep=_capped(plan, max_tokens - kept))
        kept += plan.num_kept
        of_tube = clip.frames_of_tube(number)
        seconds = float(of_tube.timestamps_seconds[0])
        yield replace(
            plan,
            timestamps_seconds=np.array([seconds]),
            frames=of_tube,
            open_frames=partial(iter, frames),
        )
        if max_tokens is not None and kept >= max_tokens:
            warnings.append(f"max_video_tokens {max_tokens} spent at {seconds:.2f} s, where the stream ends")
            return


def _decided(
    scan: GateScan | RuleScan | None, frames: UInt8Array, grid: CellGrid, *, forced: bool
) -> GatePlan:
    """The plan of one tube, frames uint8 [k, h, w, 3]."""
    if scan is None:
        return GatePlan.still(np.ones((1, grid.rows, grid.columns), bool), grid)
    if isinstance(scan, RuleScan):
        return scan.step(frames)
    return scan.step(np.stack([luma(frame) for frame in frames]), force_keyframe=forced)


def _scan(clip: Clip, grid: CellGrid, gate: GateConfig | None) -> GateScan | RuleScan | None:
    if gate is None:
        return None
    if gate.rule != MOTION_RULE:
        return RuleScan(grid, gate)
    config, notes = usable_config(grid, gate)
    clip.stream.warnings.extend(notes)
    if config.codec_keyframes and not clip.knows_codec_keyframes:
        clip.stream.warnings.append(
            "codec keyframes stand aside: the source does not say which frames they are"
        )
    rules = GateRules.of(config)
    return moving_scan(grid, rules) if config.motion == "camera" else GateScan(grid, rules)


def _capped(plan: GatePlan, room: int) -> BoolArray:
    """The kept cells that fit, the most changed first, ties to the earlier one: bool [1, H, W]."""
    if plan.num_kept <= room:
        return plan.keep
    return highest(plan.residual, room, among=plan.keep)
