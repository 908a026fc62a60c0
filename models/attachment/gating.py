"""From a call's video inputs to the cells that are encoded, for both ways in."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch

from framegate.config import FrontEndConfig
from framegate.errors import AttachmentError, BudgetError, PlaceholderError, PlanError
from framegate.kernels.dispatch import kernels_run, why_no_kernels
from framegate.models.cell_plan import CellPlan, cell_plan, whole_plan
from framegate.models.extra_placeholders import ExtraPlaceholders
from framegate.models.live.stored import STORED_KEY
from framegate.models.mechanism import Mechanism
from framegate.tokenizers.gate.on_device import device_run, why_not_on_device
from framegate.tokenizers.gate.packing import NOTES_KEY, PLAN_KEY, Account, unpack_plans
from framegate.tokenizers.gate.plan import GatePlan
from framegate.tokenizers.gate.video import plan_frames_array

RELEVANCE_KEY = "framegate_relevance"
OWN_KEYS = (PLAN_KEY, NOTES_KEY, RELEVANCE_KEY, STORED_KEY)


class Prepared(NamedTuple):
    """What an attached processor did to the videos of a call.

    Args:
        plans: per video; every cell where nothing was gated.
        accounts: per video, what its reading cost.
        is_gated: rows of kept cells came, not whole videos.
    """

    plans: list[GatePlan]
    accounts: list[Account]
    is_gated: bool


def prepared_by_processor(call: dict[str, Any]) -> Prepared | None:
    """Read what an attached processor noted on a call's videos.

    Args:
        call: keyword arguments.

    Returns:
        The notes; None where a stock processor made the inputs.

    Raises:
        PlanError: notes or cells that were cut, do not fit each other, or come from a future version.
    """
    plan, notes = call.get(PLAN_KEY), call.get(NOTES_KEY)
    if notes is None and plan is not None:
        raise PlanError(f"{PLAN_KEY} came without {NOTES_KEY}; pass all keys of one processor call.")
    if notes is None:
        return None
    cells = None if plan is None else plan.cpu().numpy()
    return Prepared(*unpack_plans(cells, notes.cpu().numpy()), is_gated=plan is not None)


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


def gate_call(
    call: dict[str, Any], mechanism: Mechanism, config: FrontEndConfig, prepared: Prepared | None
) -> Gated:
    """Gate the videos of a call, or read what an attached processor decided.

    Args:
        call: keyword arguments with pixel_values_videos.
        mechanism: the model's tower.
        config: the front end's configuration.
        prepared: what an attached processor noted, None for none.

    Returns:
        Cells, the kept patches, and the account.

    Raises:
        PlaceholderError: pixel_values_videos does not hold the number of patches that the grids say.
        BudgetError: the budget is below one token per video, or "reuse" has cells without an anchor.
    """
    if prepared is not None and prepared.is_gated:
        gated = _read(call, mechanism, prepared.plans)
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
    return _gated(call, mechanism, config, runs)


def _gate(call: dict[str, Any], mechanism: Mechanism, config: FrontEndConfig) -> Gated:
    plans = [
        plan_frames_array(
            video.frames, None, config=config.plan, cell_px=video.cell_px, tube_frames=video.tube_frames
        )
        for video in mechanism.judged(call)
    ]
    gated = _gated(call, mechanism, config, plans)
    return replace(gated, notes=(*gated.notes, *_why_on_the_cpu(call, config)))


def _gated(
    call: dict[str, Any], mechanism: Mechanism, config: FrontEndConfig, plans: list[GatePlan]
) -> Gated:
    """Fetch the kept pixels and collect what was decided on every video."""
    cells = _flat(plans, mechanism)
    return Gated(
        cells=cells,
        patches=mechanism.kept_pixels(call, cells, backend=config.backend),
        patches_in=mechanism.num_patches(call),
        score=_scores(plans),
        milliseconds=0.0,
        notes=tuple(dict.fromkeys(note for plan in plans for note in plan.notes)),
    )


def _flat(plans: list[GatePlan], mechanism: Mechanism) -> CellPlan:
    """The cells of all videos, as the tower takes them."""
    return cell_plan(
        [plan.anchor for plan in plans],
        [plan.motion_px for plan in plans],
        cell_px=mechanism.cell_px,
        merge_size=mechanism.merge_size,
    )


def _scores(plans: list[GatePlan]) -> torch.Tensor:
    """How much each cell of all videos had changed, float32 [N]."""
    return torch.from_numpy(np.concatenate([plan.residual.reshape(-1) for plan in plans]))


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


def _read(call: dict[str, Any], mechanism: Mechanism, plans: list[GatePlan]) -> Gated:
    shapes, found = mechanism.shapes(call), [plan.keep.shape for plan in plans]
    if [tuple(shape) for shape in shapes] != found or any(
        plan.cell_px != mechanism.cell_px for plan in plans
    ):
        raise PlanError(
            f"{PLAN_KEY} is for videos of {found} cells of {plans[0].cell_px} px; this call's have {shapes} of "
            f"{mechanism.cell_px} px. Pass all keys of one call of this model's processor."
        )
    cells = _flat(plans, mechanism)
    mechanism.check_kept(call, cells)
    return Gated(
        cells=cells,
        patches=call["pixel_values_videos"],
        patches_in=mechanism.num_patches(call),
        score=_scores(plans),
        milliseconds=0.0,
        notes=(),
    )


def full_size_tokens(prepared: Prepared | None, config: FrontEndConfig) -> int | None:
    """Read what the videos would have cost before an attached processor made their frames smaller.

    Args:
        prepared: what an attached processor noted, None for none.
        config: the front end's configuration.

    Returns:
        Tokens of all videos at full size; None where no frames are made smaller.

    Raises:
        AttachmentError: frames should be smaller, and their pixels came from a stock processor, cut already.
    """
    if not config.scales_frames:
        return None
    if prepared is None:
        raise AttachmentError(
            f"Preset {config.preset!r} makes frames smaller before they are cut into patches, and these "
            "pixel_values_videos were cut by a stock processor at full size. Attach the processor too "
            "(framegate.attach(model, processor, ...)) and make the inputs with it; if it made them, "
            f"{NOTES_KEY} got lost on the way: Trainer needs remove_unused_columns=False."
        )
    return sum(plan.num_cells for plan in prepared.plans)


def check_placeholders(placeholders: torch.Tensor, cells: CellPlan, extra: ExtraPlaceholders) -> None:
    """Check the number of video placeholders against the videos' cells.

    Args:
        placeholders: bool [B, S], True at the videos' placeholders.
        cells: the flat plan.
        extra: placeholders that stand for no cell.

    Raises:
        PlaceholderError: the numbers differ.
    """
    counts = [extra.count(shape) for shape in cells.shapes]
    found, wanted = int(placeholders.sum()), sum(counts)
    if found != wanted:
        raise PlaceholderError(
            f"The prompt has {found} video placeholders; the videos have "
            f"{' + '.join(map(str, counts))} = {wanted} cells. Pass ids and pixels of one processor "
            "call, and do not truncate the prompt (max_length=None)."
        )
