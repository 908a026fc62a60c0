"""From a call's video inputs to the cells that are encoded, for both ways in."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from framegate.config import FrontEndConfig
from framegate.errors import AttachmentError, BudgetError, PlaceholderError
from framegate.kernels.dispatch import kernels_run, why_no_kernels
from framegate.models.cell_plan import CellPlan, cell_plan, whole_plan
from framegate.models.mechanism import JudgedFrames, Mechanism
from framegate.models.towers.grid_geometry import SHAPE_KEY
from framegate.models.video_processor.notes import FULL_SIZE_KEY
from framegate.tokenizers.gate.areas.levels import SIDES
from framegate.tokenizers.gate.on_device import device_run, why_not_on_device
from framegate.tokenizers.gate.plan import GatePlan
from framegate.tokenizers.gate.video import plan_frames_array

ANCHOR_KEY, MOTION_KEY, SCALE_KEY = "framegate_anchor", "framegate_motion", "framegate_scale"
SCORE_KEY, RELEVANCE_KEY = "framegate_score", "framegate_relevance"
TIME_KEY = "framegate_time"
OWN_KEYS = (ANCHOR_KEY, MOTION_KEY, SCALE_KEY, SCORE_KEY, RELEVANCE_KEY, TIME_KEY, SHAPE_KEY, FULL_SIZE_KEY)


@dataclass(frozen=True, kw_only=True)
class Gated:
    """The videos of a call after the gate.

    Args:
        cells: the flat plan.
        patches: rows of the kept cells, in token order.
        patches_in: dense number of patches.
        score: how much each cell had changed when it was decided on, float32 [N]; None where nothing says.
        milliseconds: time of the gate; 0.0 when the processor had gated already.
        notes: what the gate has to say.
    """

    cells: CellPlan
    patches: torch.Tensor
    patches_in: int
    score: torch.Tensor | None
    milliseconds: float
    notes: tuple[str, ...]


def gate_call(call: dict[str, Any], mechanism: Mechanism, config: FrontEndConfig) -> Gated:
    """Gate the videos of a call, or read what an attached processor decided.

    Args:
        call: keyword arguments with pixel_values_videos.
        mechanism: the model's tower.
        config: the front end's configuration.

    Returns:
        Cells, the kept patches, and the account.

    Raises:
        PlaceholderError: pixel_values_videos does not hold the number of patches that the grids say.
        BudgetError: the budget is below one token per video, or "reuse" has cells without an anchor.

    Source: ours.
    """
    if call.get(ANCHOR_KEY) is not None:
        gated = _read(call, mechanism)
    elif not config.gates:
        gated = _everything(call, mechanism)
    else:
        started = time.perf_counter()
        gated = _gate_on_device(call, mechanism, config) or _gate(call, mechanism, config)
        gated = replace(gated, milliseconds=(time.perf_counter() - started) * 1000)
    if config.reuses and bool((gated.cells.anchor < 0).any()):
        raise BudgetError(
            f"The budget keeps {gated.cells.kept_per_video} cells per video, fewer than the first tube holds; "
            'gate.mode "reuse" needs an embedding for every cell. Raise the budget or use mode "drop".'
        )
    return gated


def _gate_on_device(call: dict[str, Any], mechanism: Mechanism, config: FrontEndConfig) -> Gated | None:
    """Gate where the pixels are, None where that is the CPU or where only the CPU can."""
    at, budget = call["pixel_values_videos"].device, config.tower_budget
    assert config.gate is not None
    # in torch alone the gate of the CPU is the faster one, wherever the pixels are
    if not kernels_run(config.backend, at) or why_not_on_device(config.gate, budget):
        return None
    videos = mechanism.luma(call)
    if videos is None:
        return None
    runs = [
        device_run(luma, config.gate, budget, cell_px=mechanism.cell_px, backend=config.backend)
        for luma in videos
    ]
    anchors = [run.anchor for run in runs]
    cells = cell_plan(anchors, [None] * len(runs), cell_px=mechanism.cell_px, merge_size=mechanism.merge_size)
    return _gated(call, mechanism, config, cells, [], runs)


def _gate(call: dict[str, Any], mechanism: Mechanism, config: FrontEndConfig) -> Gated:
    judged = mechanism.judged(call)
    plans = [
        plan_frames_array(
            video.frames, None, config=config.plan, cell_px=video.cell_px, tube_frames=video.tube_frames
        )
        for video in judged
    ]
    cells = cell_plan(
        [plan.anchor for plan in plans],
        [plan.motion_px for plan in plans],
        cell_px=judged[0].cell_px,
        merge_size=mechanism.merge_size,
        scales=[plan.side for plan in plans],
    )
    gated = _gated(call, mechanism, config, cells, judged, plans)
    return replace(gated, notes=(*gated.notes, *_why_on_the_cpu(call, config)))


def _gated(
    call: dict[str, Any],
    mechanism: Mechanism,
    config: FrontEndConfig,
    cells: CellPlan,
    judged: list[JudgedFrames],
    decided: Sequence[GatePlan],
) -> Gated:
    """Fetch the kept pixels and collect what was decided on every video."""
    return Gated(
        cells=cells,
        patches=mechanism.kept_pixels(call, cells, judged, backend=config.backend),
        patches_in=mechanism.num_patches(call),
        score=torch.from_numpy(np.concatenate([run.residual.reshape(-1) for run in decided])),
        milliseconds=0.0,
        notes=tuple(dict.fromkeys(note for run in decided for note in run.notes)),
    )


def _why_on_the_cpu(call: dict[str, Any], config: FrontEndConfig) -> tuple[str, ...]:
    """Say why the gate ran on the CPU, where pixels of a GPU or kernels by name promised otherwise."""
    at = call["pixel_values_videos"].device
    if (at.type == "cpu" and config.backend != "triton") or config.gate is None:
        return ()
    why = why_not_on_device(config.gate, config.tower_budget)
    if why is None and not kernels_run(config.backend, at):
        why = why_no_kernels(at) or f"backend is {config.backend!r}"
    return (f"the gate ran on the CPU: {why or 'frames of this tower are brought to whole cells there'}",)


def _everything(call: dict[str, Any], mechanism: Mechanism) -> Gated:
    """Every cell a token: no gate, but stages after the tower, or stamps that the stock model cannot place."""
    cells = whole_plan(tuple(mechanism.shapes(call)))
    mechanism.check_kept(call, cells)
    return Gated(
        cells=cells,
        patches=call["pixel_values_videos"],
        patches_in=mechanism.num_patches(call),
        score=None,
        milliseconds=0.0,
        notes=(),
    )


def _read(call: dict[str, Any], mechanism: Mechanism) -> Gated:
    shapes = mechanism.shapes(call)
    counts = [t * h * w for t, h, w in shapes]
    anchors = call[ANCHOR_KEY].cpu().numpy().astype(np.int32)
    if len(anchors) != sum(counts):
        raise PlaceholderError(
            f"{ANCHOR_KEY} has {len(anchors)} cells; the videos, of {shapes} cells each, ask for {sum(counts)}."
        )
    tubes = [shape[0] for shape in shapes]
    if bool(((anchors < -1) | (anchors >= np.repeat(tubes, counts))).any()):
        raise PlaceholderError(f"{ANCHOR_KEY} names tubes outside the videos' {tubes}.")
    ends = np.cumsum(counts)[:-1]
    parts = [part.reshape(shape) for part, shape in zip(np.split(anchors, ends), shapes, strict=True)]
    cells = cell_plan(
        parts,
        _parts(call, MOTION_KEY, ends, shapes) or [None] * len(parts),
        cell_px=mechanism.cell_px,
        merge_size=mechanism.merge_size,
        scales=_parts(call, SCALE_KEY, ends, shapes),
    )
    mechanism.check_kept(call, cells)
    return Gated(
        cells=cells,
        patches=call["pixel_values_videos"],
        patches_in=mechanism.num_patches(call),
        score=call.get(SCORE_KEY),
        milliseconds=0.0,
        notes=(),
    )


def _parts(call: dict[str, Any], key: str, ends: Any, shapes: list[tuple[int, int, int]]) -> list[Any] | None:
    """What a processor noted per cell, one array [T, H, W, ...] per video; None where it noted nothing."""
    if call.get(key) is None:
        return None
    noted = call[key].cpu()
    # whoever cast the inputs to half precision cast this too, and numpy knows no bfloat16
    values = (noted.float() if noted.is_floating_point() else noted).numpy()
    if len(values) != sum(t * h * w for t, h, w in shapes):
        raise PlaceholderError(f"{key} has {len(values)} cells; {ANCHOR_KEY} has {len(call[ANCHOR_KEY])}.")
    if key == SCALE_KEY and not np.isin(values, (0, *SIDES)).all():
        raise PlaceholderError(f"{key} holds {np.unique(values).tolist()}; sides are 0 and {SIDES}.")
    return [
        part.reshape(*shape, *values.shape[1:])
        for part, shape in zip(np.split(values, ends), shapes, strict=True)
    ]


def full_size_tokens(call: dict[str, Any], config: FrontEndConfig) -> int | None:
    """Read what the videos would have cost before an attached processor made their frames smaller.

    Args:
        call: keyword arguments with pixel_values_videos.
        config: the front end's configuration.

    Returns:
        Tokens of all videos at full size; None where no frames are made smaller.

    Raises:
        AttachmentError: frames should be smaller, and their pixels came from a stock processor, cut already.

    Source: ours.
    """
    if not config.scales_frames:
        return None
    noted = call.get(FULL_SIZE_KEY)
    if noted is None:
        raise AttachmentError(
            f"Preset {config.preset!r} makes frames smaller before they are cut into patches, and these "
            "pixel_values_videos were cut by a stock processor at full size. Attach the processor too "
            "(framegate.attach(model, processor, ...)) and make the inputs with it; if it made them, "
            f"{FULL_SIZE_KEY} got lost on the way: Trainer needs remove_unused_columns=False."
        )
    return int(noted.sum())


def check_placeholders(
    input_ids: torch.Tensor, video_token_id: int, cells: CellPlan, *, extra: int = 0
) -> torch.Tensor:
    """Find the video placeholders and check their number against the videos' cells.

    Args:
        input_ids: int64 [B, S], the caller's.
        video_token_id: id of the placeholder.
        cells: the flat plan.
        extra: placeholders per video that stand for no cell.

    Returns:
        bool [B, S], True at placeholders.

    Raises:
        PlaceholderError: the numbers differ.
    """
    placeholders = input_ids == video_token_id
    counts = [count + extra for count in cells.cells_per_video]
    found, wanted = int(placeholders.sum()), sum(counts)
    if found != wanted:
        raise PlaceholderError(
            f"The prompt has {found} video placeholders (id {video_token_id}); the videos have "
            f"{' + '.join(map(str, counts))} = {wanted} cells. Pass ids and pixels of one processor "
            "call, and do not truncate the prompt (max_length=None)."
        )
    return placeholders
