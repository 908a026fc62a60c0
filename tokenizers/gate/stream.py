"""The gate on a stream: tube by tube as it comes, causal, capped, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from framegate.errors import BudgetError, ConfigError
from framegate.tokenizers.gate.areas.levels import SIDES, Int8Array, areas_at, representatives, sums_in
from framegate.tokenizers.gate.config import MOTION_RULE, GateConfig
from framegate.tokenizers.gate.gate import moving_scan, usable_config
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.plan import GatePlan
from framegate.tokenizers.gate.residual import FloatArray
from framegate.tokenizers.gate.ruled import RuleScan
from framegate.tokenizers.gate.scan import GateRules, GateScan
from framegate.tokenizers.gate.video import as_luma, grid_for
from framegate.tokenizers.plan_config import PlanConfig
from framegate.tokenizers.samplers.registry import sample_frames
from framegate.tokenizers.video_stream import VideoStream
from framegate.types import Frame, FramePlan, UInt8Array


@dataclass(frozen=True, kw_only=True)
class GatedTube:
    """One tube of a stream, decided.

    Args:
        index: number of the tube.
        timestamp_seconds: container time of its first frame.
        frames: uint8 [k, h, w, 3] RGB.
        keep: bool [H, W], cells at which a token is encoded.
        scale: int8 [H, W], side in cells of the area each token stands for; 0 where none is encoded.
    """

    index: int
    timestamp_seconds: float
    frames: UInt8Array = field(repr=False)
    keep: npt.NDArray[np.bool_] = field(repr=False)
    scale: Int8Array = field(repr=False)

    @property
    def num_kept(self) -> int:
        """Tokens that are encoded."""
        return int(self.keep.sum())


def gate_stream(
    stream: VideoStream,
    config: PlanConfig,
    *,
    width_px: int = 448,
    cell_px: int = 28,
    tube_frames: int = 1,
) -> Iterator[GatedTube]:
    """Gate a video as it is read, a camera's or a file's.

    One causal pass with the threshold, with camera motion where the configuration allows it. With
    `max_video_tokens` the stream ends when the cap is spent; the last tube then keeps its most changed cells.

    Args:
        stream: an open stream; a live one is thinned out by its own `live_fps`, a file is sampled by `config.frames`.
        config: gate and cap.
        width_px: width the frames are judged and handed over at; the height follows, both multiples of cell_px.
        cell_px: side of a cell.
        tube_frames: frames per tube; frames that do not fill the last tube are left out.

    Returns:
        Iterator over the tubes, in order of time. What stands aside is told in `stream.warnings`.

    Raises:
        BudgetError: keep_ratio below 1, an exact budget, which a stream without a known end cannot meet.
        FrameError: the video is smaller than one cell.
        VideoError: nothing can be decoded.
        ConfigError: down-scaling, or a rule without a threshold, both of which need the whole video.

    Source: GRT (arXiv 2509.14199) section 3; anchored reference, mode decision and cap: ours.
    """
    if config.budget.keep_ratio not in (None, 1.0):
        raise BudgetError(
            f"keep_ratio={config.budget.keep_ratio} is an exact budget and needs the whole video; a stream takes "
            "max_video_tokens, a cap, or a threshold."
        )
    _check_causal(config)
    grid = grid_for(stream.info, width_px=width_px, cell_px=cell_px, tube_frames=tube_frames)
    plan = None if stream.info.is_live else sample_frames(stream.info, config.frames)
    gate = config.gate
    stream.warnings.extend(plan.notes if plan is not None else ())
    return _gated(stream, plan, grid, gate, config.budget.max_tokens)


def _check_causal(config: PlanConfig) -> None:
    """Refuse what decides on the whole video at once."""
    gate = config.gate
    if config.down_scaling:
        what = "down_scaling"
    elif gate is not None and not gate.has_threshold:
        what = f"gate.rule {gate.rule!r} without a threshold"
    else:
        return
    raise ConfigError(f"{what} needs the whole video; a stream takes the rules 'motion', 'rlt' and 'dtd'.")


def _gated(
    stream: VideoStream,
    plan: FramePlan | None,
    grid: CellGrid,
    gate: GateConfig | None,
    max_tokens: int | None,
) -> Iterator[GatedTube]:
    scan, kept = _scan(grid, gate, stream.warnings), 0
    frames = stream.frames(plan, size_px=(grid.height_px, grid.width_px))
    for index, tube in enumerate(_tubes(frames, grid.tube_frames)):
        pixels = np.stack([frame.pixels for frame in tube])
        scale = np.ones((grid.rows, grid.columns), np.int8)
        if scan is not None:
            luma = not isinstance(scan, RuleScan)
            decision = scan.step(np.stack([as_luma(frame) for frame in pixels]) if luma else pixels)
            scale = decision.side[0] if max_tokens is None else _capped(decision, max_tokens - kept)
        kept += int(np.count_nonzero(scale))
        yield GatedTube(
            index=index,
            timestamp_seconds=tube[0].timestamp_seconds,
            frames=pixels,
            keep=scale > 0,
            scale=scale,
        )
        if max_tokens is not None and kept >= max_tokens:
            stream.warnings.append(
                f"max_video_tokens {max_tokens} spent at {tube[-1].timestamp_seconds:.2f} s, where the stream ends"
            )
            return


def _scan(grid: CellGrid, gate: GateConfig | None, warnings: list[str]) -> GateScan | RuleScan | None:
    if gate is None:
        return None
    if gate.rule != MOTION_RULE:
        return RuleScan(grid, gate)
    config, notes = usable_config(grid, gate)
    warnings.extend(notes)
    if config.codec_keyframes:
        warnings.append("codec keyframes stand aside: a stream tells of them only after it was read")
    rules = GateRules.of(config)
    return moving_scan(grid, rules) if config.motion == "camera" else GateScan(grid, rules)


def _tubes(frames: Iterator[Frame], tube_frames: int) -> Iterator[list[Frame]]:
    waiting: list[Frame] = []
    for frame in frames:
        waiting.append(frame)
        if len(waiting) == tube_frames:
            yield waiting
            waiting = []


def _capped(decision: GatePlan, room: int) -> Int8Array:
    """The tokens of one tube that fit, the most changed first, ties to the earlier one: int8 [H, W]."""
    if decision.num_kept <= room:
        return decision.side[0]
    score = np.where(decision.keep[0], _change(decision), -np.inf).reshape(-1)
    scale = np.zeros(decision.side.size, np.int8)
    kept = np.argsort(-score, kind="stable")[:room]
    scale[kept] = decision.side.flat[kept]
    return scale.reshape(decision.side[0].shape)


def _change(decision: GatePlan) -> FloatArray:
    """What each token's area changed by, summed over its cells, at its representative cell: float32 [H, W]."""
    residual, tokens = decision.residual[0], decision.side[0]
    change = residual.copy()
    rows, columns = change.shape
    for side in SIDES[1:]:
        row, column = representatives(rows, columns, side)
        here = areas_at(tokens, side)
        change[row, column] = np.where(here, sums_in(residual, side), change[row, column])
    return change
