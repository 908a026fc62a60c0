"""Anchored context: kept queries also see, for every skipped cell, the key and value rows of its anchor.

The rows are gathered by index from the same packed sequence, layer by layer, so nothing of dense size is kept.
The plan travels as a keyword argument of the tower to the attention function registered here; without a plan the
function makes the same calls as transformers' own, so that an untouched call stays bit-equal.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from framegate.models.cell_plan import CellPlan
from framegate.models.packed_tower.packing import Layout, boundaries, segment_lengths

# transformers hands packed segments only to functions whose name contains "flash".
ATTENTION_NAME = "flash_attention_framegate"


class AnchorRows(NamedTuple):
    """Keys and values of one tower call.

    Empty query segments stay in the tower's boundaries, so that the number of boundaries tells which segmentation a
    layer uses; where two numbers are equal every tube is one window, and the segmentations are the same.

    Args:
        rows: int64 [M], packed row that stands for each dense row that has an anchor, in the tower's order.
        cu_tubes: int32 [S + 1], key boundaries of the full-attention segments.
        cu_windows: int32 [W + 1], the same for windows, None where the tower has none.
        cos: float [M, d] that turns keys from the anchor's place to the skipped cell's, None without motion.
        sin: float [M, d].
    """

    rows: torch.Tensor
    cu_tubes: torch.Tensor
    cu_windows: torch.Tensor | None
    cos: torch.Tensor | None
    sin: torch.Tensor | None


def anchor_rows(tower: Any, cells: CellPlan, dense: Layout) -> AnchorRows:
    """Index the anchors of a call.

    Args:
        tower: the vision tower.
        cells: the flat plan.
        dense: the tower's layout.

    Returns:
        The plan that the attention function reads, on the tower's device.

    Source: ours.
    """
    rows_per_cell = tower.config.spatial_merge_size**2
    kept = cells.keep[dense.order]
    rank = torch.full((len(kept),), -1, dtype=torch.long)
    rank[dense.order[kept]] = torch.arange(int(kept.sum()))
    shown = cells.anchor[dense.order] >= 0
    anchors = cells.anchor[dense.order[shown]]
    # [M cells] -> [M cells * rows_per_cell]
    rows = (rank[anchors][:, None] * rows_per_cell + torch.arange(rows_per_cell)).flatten()

    def key_boundaries(cu: torch.Tensor) -> torch.Tensor:
        return boundaries(segment_lengths(shown, cu), rows_per_cell=rows_per_cell)

    cos, sin = _turns(tower, cells, dense.order[shown], rows_per_cell)
    windows = None if dense.cu_windows is None else key_boundaries(dense.cu_windows)
    return AnchorRows(rows.to(tower.device), key_boundaries(dense.cu_tubes), windows, cos, sin)


def _turns(
    tower: Any, cells: CellPlan, shown: torch.Tensor, rows_per_cell: int
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Rotary angles of the way from an anchor's own place to the cell that it stands for."""
    if cells.shift_patches is None:
        return None, None
    # The content lies `shift` away from the cell, so the key moves back by it.
    places = -cells.shift_patches[shown].repeat_interleave(rows_per_cell, dim=0).to(tower.device)
    cos, sin = tower.rotary_pos_emb(places, places)
    return cos, sin


def _rotate_half(x: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


def _gathered(key: torch.Tensor, plan: AnchorRows, span: slice) -> torch.Tensor:
    keys = key.index_select(2, plan.rows[span])  # [1, h, n, d]
    if plan.cos is None or plan.sin is None:
        return keys
    turned = keys.float() * plan.cos[span] + _rotate_half(keys.float()) * plan.sin[span]
    return turned.to(key.dtype)


def _segments(cu_seqlens: torch.Tensor) -> list[slice]:
    ends = cu_seqlens.tolist()
    return [slice(start, end) for start, end in zip(ends, ends[1:], strict=False)]


def framegate_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    cu_seq_lens_q: torch.Tensor | None = None,
    framegate_anchors: AnchorRows | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attend per segment, kept queries over their own rows or over the anchors' of the whole dense segment.

    Args:
        module: the attention layer, unused.
        query: [1, h, N, d], packed.
        key: [1, h, N, d].
        value: [1, h, N, d].
        attention_mask: unused, packed segments need none.
        scaling: factor on the scores.
        dropout: probability of dropping a weight.
        cu_seq_lens_q: int32 [S + 1], query boundaries.
        framegate_anchors: the plan; None attends as transformers' sdpa does.

    Returns:
        [1, N, h, d] and None.

    Raises:
        ValueError: the plan's boundaries fit none of the tower's segmentations (a bug of ours, not of the input).

    Source: ours; a per-segment loop, the law for kernels to come.
    """
    assert cu_seq_lens_q is not None
    plan, queries = framegate_anchors, _segments(cu_seq_lens_q)
    spans = queries if plan is None else _segments(_key_boundaries(plan, len(queries)))
    out = []
    for rows, span in zip(queries, spans, strict=True):
        if rows.stop == rows.start:
            continue
        keys = key[:, :, rows] if plan is None else _gathered(key, plan, span)
        values = value[:, :, rows] if plan is None else value.index_select(2, plan.rows[span])
        out.append(
            F.scaled_dot_product_attention(query[:, :, rows], keys, values, dropout_p=dropout, scale=scaling)
        )
    return torch.cat(out, dim=2).transpose(1, 2).contiguous(), None  # [1, h, N, d] -> [1, N, h, d]


def _key_boundaries(plan: AnchorRows, num_segments: int) -> torch.Tensor:
    for cu in (plan.cu_tubes, plan.cu_windows):
        if cu is not None and cu.numel() == num_segments + 1:
            return cu
    raise ValueError(f"The anchors fit no segmentation with {num_segments} segments.")
