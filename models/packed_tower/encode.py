"""Running a packed tower on kept cells alone."""

from __future__ import annotations

from typing import Any

import torch

from framegate.kernels.backend import Backend
from framegate.models.cell_plan import CellPlan
from framegate.models.packed_tower.anchored import ATTENTION_NAME, anchor_rows
from framegate.models.packed_tower.packing import layout, packed_kwargs


def kept_patches(tower: Any, keep: torch.Tensor) -> torch.Tensor:
    """Spread a mask over cells to the tower's input rows.

    Args:
        tower: the vision tower.
        keep: bool [N], cells in token order.

    Returns:
        bool [N * rows of a cell].

    Source: ours.
    """
    rows: torch.Tensor = keep.repeat_interleave(tower.config.spatial_merge_size**2)
    return rows


def encode_kept(
    tower: Any,
    pixel_values: torch.Tensor,
    grid_thw: torch.Tensor,
    cells: CellPlan,
    *,
    anchored: bool = False,
    backend: Backend = "auto",
) -> Any:
    """Encode the kept cells of all videos in one call of the tower.

    Args:
        tower: a vision tower that takes packed sequences (Qwen2-VL, Qwen2.5-VL, Qwen3-VL).
        pixel_values: [kept patches, C * t * p * p], kept cells only, in token order.
        grid_thw: int64 [V, 3], the dense grids in patches.
        cells: the flat plan of all videos.
        anchored: let kept queries see the anchors of skipped cells; needs the attention function of
            `packed_tower.anchored` set on the tower.
        backend: how that function runs, where it is set.

    Returns:
        The tower's output object; `pooler_output` is a list of [kept_i, D], one per video, and
        `deepstack_features`, where the tower has them, a list of such lists.

    Source: ours.
    """
    grid = grid_thw.cpu()
    dense = layout(tower, grid)
    kwargs = packed_kwargs(tower, grid, cells.keep, dense, keep_empty=anchored)
    kwargs = {name: tensor.to(tower.device) for name, tensor in kwargs.items()}
    if tower.config._attn_implementation == ATTENTION_NAME:
        kwargs |= {"framegate_backend": backend, "framegate_tiles": {}}
    if anchored:
        kwargs["framegate_anchors"] = anchor_rows(tower, cells, dense)
    out = tower(pixel_values.to(tower.device, tower.dtype), grid_thw=grid_thw, return_dict=True, **kwargs)
    counts = cells.kept_per_video
    out.pooler_output = list(out.pooler_output.split(counts))
    if getattr(out, "deepstack_features", None) is not None:
        out.deepstack_features = [list(layer.split(counts)) for layer in out.deepstack_features]
    return out
