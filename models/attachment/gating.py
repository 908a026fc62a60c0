"""From a call's video inputs to the cells that are encoded, for both ways in."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from framegate.config import FrontEndConfig
from framegate.errors import BudgetError, FrameError, PlaceholderError
from framegate.models.families import Family
from framegate.models.packed_tower import CellPlan, cell_plan, kept_patches
from framegate.models.video_processor.patches import PatchLayout, unpatchify
from framegate.tokenizers.motion_gate.plan import GatePlan
from framegate.tokenizers.motion_gate.video import plan_frames_array

ANCHOR_KEY, MOTION_KEY = "framegate_anchor", "framegate_motion"


@dataclass(frozen=True, kw_only=True)
class Gated:
    """The videos of a call after the gate.

    Args:
        cells: the flat plan.
        patches: [kept patches, C * t * p * p], kept cells in token order.
        patches_in: dense number of patches.
        milliseconds: time of the gate; 0.0 when the processor had gated already.
        notes: what the gate has to say.
    """

    cells: CellPlan
    patches: torch.Tensor
    patches_in: int
    milliseconds: float
    notes: tuple[str, ...]


def gate_call(call: dict[str, Any], tower: Any, family: Family, config: FrontEndConfig) -> Gated:
    """Gate the videos of a call, or read what an attached processor decided.

    Args:
        call: keyword arguments with pixel_values_videos and video_grid_thw.
        tower: the vision tower.
        family: its row.
        config: the front end's configuration.

    Returns:
        Cells, the kept patches, and the account.

    Raises:
        PlaceholderError: pixel_values_videos does not hold the number of patches that the grids say.
        BudgetError: the budget is below one token per video, or "reuse" has cells without an anchor.

    Source: ours.
    """
    grids = call["video_grid_thw"].tolist()
    gated = (
        _read(call, tower, grids)
        if call.get(ANCHOR_KEY) is not None
        else _gate(call, tower, grids, family, config)
    )
    if config.gate is not None and config.gate.mode == "reuse" and bool((gated.cells.anchor < 0).any()):
        raise BudgetError(
            f"The budget keeps {gated.cells.kept_per_video} cells per video, fewer than the first tube holds; "
            'gate.mode "reuse" needs an embedding for every cell. Raise the budget or use mode "drop".'
        )
    return gated


def num_cells(tower: Any, grid_thw: torch.Tensor) -> int:
    """Count the language-model tokens that the stock model makes of videos, from their grids int64 [V, 3]."""
    return int(grid_thw.prod(-1).sum()) // int(tower.config.spatial_merge_size) ** 2


def _cell_px(tower: Any) -> int:
    return int(tower.config.patch_size * tower.config.spatial_merge_size)


def _cell_grid(grid: list[int], tower: Any) -> tuple[int, int, int]:
    merge_size = tower.config.spatial_merge_size
    return grid[0], grid[1] // merge_size, grid[2] // merge_size


def _gate(
    call: dict[str, Any], tower: Any, grids: list[list[int]], family: Family, config: FrontEndConfig
) -> Gated:
    started = time.perf_counter()
    pixels, counts = call["pixel_values_videos"], [t * h * w for t, h, w in grids]
    _check_rows(pixels, sum(counts), grids)
    _check_finite(pixels.split(counts))
    plans = [
        _plan_one(part, grid, tower, family, config)
        for part, grid in zip(pixels.split(counts), grids, strict=True)
    ]
    cells = cell_plan(
        [plan.anchor for plan in plans],
        [plan.motion_px for plan in plans],
        cell_px=_cell_px(tower),
        merge_size=tower.config.spatial_merge_size,
    )
    kept = pixels[kept_patches(tower, cells.keep).to(pixels.device)]
    elapsed_ms = (time.perf_counter() - started) * 1000
    notes = tuple(dict.fromkeys(note for plan in plans for note in plan.notes))
    return Gated(cells=cells, patches=kept, patches_in=sum(counts), milliseconds=elapsed_ms, notes=notes)


def _plan_one(
    pixels: torch.Tensor, grid: list[int], tower: Any, family: Family, config: FrontEndConfig
) -> GatePlan:
    layout = PatchLayout(
        patch_size_px=tower.config.patch_size,
        temporal_patch_size=tower.config.temporal_patch_size,
        merge_size=tower.config.spatial_merge_size,
        mean=family.image_mean,
        std=family.image_std,
    )
    frames = unpatchify(pixels, (grid[0], grid[1], grid[2]), layout)
    return plan_frames_array(
        frames, None, config=config, cell_px=layout.cell_px, tube_frames=layout.temporal_patch_size
    )


def _read(call: dict[str, Any], tower: Any, grids: list[list[int]]) -> Gated:
    shapes = [_cell_grid(grid, tower) for grid in grids]
    counts = [t * h * w for t, h, w in shapes]
    anchors = call[ANCHOR_KEY].cpu().numpy().astype(np.int32)
    if len(anchors) != sum(counts):
        raise PlaceholderError(
            f"{ANCHOR_KEY} has {len(anchors)} cells; video_grid_thw {grids} asks for {sum(counts)}."
        )
    tubes = [shape[0] for shape in shapes]
    if bool(((anchors < -1) | (anchors >= np.repeat(tubes, counts))).any()):
        raise PlaceholderError(f"{ANCHOR_KEY} names tubes outside the videos' {tubes}.")
    ends = np.cumsum(counts)[:-1]
    parts = [part.reshape(shape) for part, shape in zip(np.split(anchors, ends), shapes, strict=True)]
    motions: list[Any] = [None] * len(parts)
    if call.get(MOTION_KEY) is not None:
        moved = np.split(call[MOTION_KEY].float().cpu().numpy(), ends)
        motions = [part.reshape(*shape, 2) for part, shape in zip(moved, shapes, strict=True)]
    merge_size = tower.config.spatial_merge_size
    cells = cell_plan(parts, motions, cell_px=_cell_px(tower), merge_size=merge_size)
    _check_rows(call["pixel_values_videos"], cells.num_kept * merge_size**2, grids)
    patches_in = sum(t * h * w for t, h, w in grids)
    return Gated(
        cells=cells, patches=call["pixel_values_videos"], patches_in=patches_in, milliseconds=0.0, notes=()
    )


def _check_rows(pixels: torch.Tensor, wanted: int, grids: list[list[int]]) -> None:
    if len(pixels) != wanted:
        raise PlaceholderError(
            f"pixel_values_videos has {len(pixels)} patches; video_grid_thw {grids} asks for {wanted}. If an attached "
            f"processor made them, {ANCHOR_KEY} got lost on the way: Trainer needs remove_unused_columns=False."
        )


def _check_finite(videos: Sequence[torch.Tensor]) -> None:
    for number, pixels in enumerate(videos):
        if not bool(torch.isfinite(pixels).all()):
            patch = int((~torch.isfinite(pixels)).any(1).nonzero()[0])
            raise FrameError(
                f"pixel_values_videos of video {number} is not finite, first in its patch {patch}; "
                "check the frames that went into the processor."
            )


def check_placeholders(input_ids: torch.Tensor, video_token_id: int, cells: CellPlan) -> torch.Tensor:
    """Find the video placeholders and check their number against the videos' cells.

    Args:
        input_ids: int64 [B, S], the caller's.
        video_token_id: id of the placeholder.
        cells: the flat plan.

    Returns:
        bool [B, S], True at placeholders.

    Raises:
        PlaceholderError: the numbers differ.
    """
    placeholders = input_ids == video_token_id
    found, wanted = int(placeholders.sum()), sum(cells.cells_per_video)
    if found != wanted:
        raise PlaceholderError(
            f"The prompt has {found} video placeholders (id {video_token_id}); the videos have "
            f"{' + '.join(map(str, cells.cells_per_video))} = {wanted} cells. Pass ids and pixels of one processor "
            "call, and do not truncate the prompt (max_length=None)."
        )
    return placeholders


def reused_patches(gated: Gated, tower: Any) -> torch.Tensor:
    """Give every skipped cell its anchor's patches, so that its patch embedding is its anchor's.

    The projection sees one patch at a time: embedding a copy of the anchor's pixels is embedding reuse, bit for bit.

    Args:
        gated: the gate's result; every cell has an anchor.
        tower: the vision tower.

    Returns:
        [dense patches, C * t * p * p].

    Source: the released GRT code's behaviour (its `reuse` path); this way of getting it is ours.
    """
    rows_per_cell = tower.config.spatial_merge_size**2
    rank = gated.cells.keep.long().cumsum(0) - 1
    rows = rank[gated.cells.anchor][:, None] * rows_per_cell + torch.arange(rows_per_cell)
    return gated.patches[rows.flatten().to(gated.patches.device)]
