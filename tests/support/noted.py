"""What travels with inputs from an attached processor to the model: read, made by hand, and cut to one video."""

from types import SimpleNamespace

import numpy as np
import torch

from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.packing import NOTES_KEY, PLAN_KEY, unpack_plans
from framegate.tokenizers.gate.plan import GatePlan


def plans_of(inputs):
    """The plans of the inputs' videos."""
    plan = inputs.get(PLAN_KEY)
    return unpack_plans(None if plan is None else np.asarray(plan), np.asarray(inputs[NOTES_KEY]))[0]


def accounts_of(inputs):
    """Per video the account of the processor's call, with its tokens and notes."""
    plan = inputs.get(PLAN_KEY)
    pairs = zip(
        *unpack_plans(None if plan is None else np.asarray(plan), np.asarray(inputs[NOTES_KEY])), strict=True
    )
    return [
        SimpleNamespace(
            **vars(account), notes=plan.notes, dense_tokens=plan.num_cells, kept_tokens=plan.num_kept
        )
        for plan, account in pairs
    ]


def anchors_of(inputs):
    """int32 [cells], tube that stands for each cell of all videos."""
    return inputs[PLAN_KEY][:, 0]


def packed(keeps, *, cell_px, tube_frames):
    """The two keys that a processor adds for masks of kept cells, bool [T, H, W] each."""
    parts = [
        GatePlan.still(
            keep,
            CellGrid.of(
                keep.shape[1] * cell_px, keep.shape[2] * cell_px, cell_px=cell_px, tube_frames=tube_frames
            ),
        ).pack()
        for keep in keeps
    ]
    return {
        name: torch.from_numpy(np.concatenate([getattr(part, name) for part in parts]))
        for name in (PLAN_KEY, NOTES_KEY)
    }


def first_video(inputs):
    """The two keys, of the first video alone."""
    line = np.asarray(inputs[NOTES_KEY]).tobytes().splitlines(keepends=True)[0]
    cells = plans_of(inputs)[0].keep.size
    return {
        PLAN_KEY: inputs[PLAN_KEY][:cells],
        NOTES_KEY: torch.from_numpy(np.frombuffer(line, np.uint8).copy()),
    }
