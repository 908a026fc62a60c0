"""The tower's attention while framegate encodes: all segments in one call of `anchored_attention`.

In context "anchored" kept queries also see, for every skipped cell, the key and value rows of its anchor; they are
gathered by index from the same packed sequence, layer by layer, so nothing of dense size is kept. Backend and plan
travel as keyword arguments of the tower to the function registered here; without them it makes the same calls as
transformers' own, so that an untouched call stays bit-equal.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from transformers import AttentionInterface

from framegate.kernels.anchored_attention import Tiles, anchored_attention
from framegate.kernels.backend import Backend
from framegate.models.cell_plan import CellPlan
from framegate.models.towers.packed_layout import Layout, boundaries, segment_lengths
from framegate.models.transformers_private import rotary_angles


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


def cells_with_keys(cells: CellPlan, *, moves_keys: bool) -> torch.Tensor:
    """Tell which cells of a dense grid kept queries see: kept ones, and skipped ones whose anchor can stand for them.

    Without `moves_keys` a key cannot be turned to another place, for a learned position embedding sits inside it: then
    a skipped cell whose content came from elsewhere gives none.
    """
    shown = cells.anchor >= 0
    if moves_keys or cells.shift_patches is None:
        return shown
    return shown & (cells.keep | ~cells.shift_patches.any(1))


def anchor_rows(
    tower: Any,
    cells: CellPlan,
    dense: Layout,
    *,
    merge_size: int | None = None,
    moves_keys: bool = True,
    device: torch.device | None = None,
) -> AnchorRows:
    """Index the anchors of a call: the plan that the attention function reads, on the device where the tower runs.

    merge_size: patches along the side of a cell; None for the one in the tower's configuration. device: None for that
    of its weights.
    """
    at = tower.device if device is None else device
    rows_per_cell = (merge_size or tower.config.spatial_merge_size) ** 2
    kept = cells.keep[dense.order]
    rank = torch.full((len(kept),), -1, dtype=torch.long)
    rank[dense.order[kept]] = torch.arange(int(kept.sum()))
    shown = cells_with_keys(cells, moves_keys=moves_keys)[dense.order]
    anchors = cells.anchor[dense.order[shown]]
    # [M cells] -> [M cells * rows_per_cell]
    rows = (rank[anchors][:, None] * rows_per_cell + torch.arange(rows_per_cell)).flatten()

    def key_boundaries(cu: torch.Tensor) -> torch.Tensor:
        return boundaries(segment_lengths(shown, cu), rows_per_cell=rows_per_cell)

    turned = dense.order[shown]
    cos, sin = _turns(tower, cells, turned, rows_per_cell, at) if moves_keys else (None, None)
    windows = None if dense.cu_windows is None else key_boundaries(dense.cu_windows)
    cu_windows = None if windows is None else windows.to(at)
    return AnchorRows(rows.to(at), key_boundaries(dense.cu_tubes).to(at), cu_windows, cos, sin)


def _turns(
    tower: Any, cells: CellPlan, shown: torch.Tensor, rows_per_cell: int, device: torch.device
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Rotary angles of the way from an anchor's own place to the cell that it stands for."""
    if cells.shift_patches is None:
        return None, None
    # The content lies `shift` away from the cell, so the key moves back by it.
    places = -cells.shift_patches[shown].repeat_interleave(rows_per_cell, dim=0).to(device)
    return rotary_angles(tower, places)


def framegate_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    cu_seq_lens_q: torch.Tensor | None = None,
    framegate_backend: Backend | None = None,
    framegate_tiles: Tiles | None = None,
    framegate_anchors: AnchorRows | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attend per segment, kept queries over their own rows or over the anchors' of the whole dense segment.

    Args:
        module: the attention layer.
        query: [1, h, N, d], packed.
        key: [1, h, N, d]; fewer heads where several queries share one.
        value: [1, h, N, d], as key.
        attention_mask: unused, packed segments need none.
        scaling: factor on the scores.
        dropout: probability of dropping a weight.
        cu_seq_lens_q: int32 [S + 1], query boundaries.
        framegate_backend: how kept cells attend; None, in calls that are not framegate's, makes the very calls that
            transformers' sdpa makes.
        framegate_tiles: what the kernel works out of boundaries, shared by the layers of a call.
        framegate_anchors: whose rows keys and values come from; None for the queries' own.

    Returns:
        [1, N, h, d] and None.

    Raises:
        ValueError: the plan's boundaries fit none of the tower's segmentations (a bug of ours, not of the input).
        BackendError: backend "triton" where the kernel cannot run.
    """
    assert cu_seq_lens_q is not None
    if framegate_backend is None:
        return _stock_attention(module, query, key, value, cu_seq_lens_q, scaling, dropout), None
    shared = query.shape[1] // key.shape[1]
    key, value = (part.repeat_interleave(shared, dim=1) for part in (key, value))
    plan = framegate_anchors
    turn = None if plan is None or plan.cos is None or plan.sin is None else (plan.cos, plan.sin)
    q, k, v = (part[0].transpose(0, 1) for part in (query, key, value))  # [1, h, N, d] -> [N, h, d]
    seen = anchored_attention(
        q,
        k,
        v,
        cu_seq_lens_q,
        cu_seq_lens_q if plan is None else _key_boundaries(plan, cu_seq_lens_q.numel()),
        rows=None if plan is None else plan.rows,
        turn=turn,
        scale=scaling,
        dropout=dropout,
        tiles=framegate_tiles,
        backend=framegate_backend,
    )
    return seen[None], None


def _stock_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cu_seqlens: torch.Tensor,
    scale: float | None,
    dropout: float,
) -> torch.Tensor:
    """Attend segment by segment as transformers does, to the bit: [1, N, h, d]."""
    attend, lengths = AttentionInterface()["sdpa"], cu_seqlens.diff().tolist()
    parts = zip(*(part.split(lengths, dim=2) for part in (query, key, value)), strict=True)
    out = [attend(module, *part, None, dropout=dropout, scaling=scale, is_causal=False)[0] for part in parts]
    return torch.cat(out, dim=1)


def _key_boundaries(plan: AnchorRows, num_boundaries: int) -> torch.Tensor:
    for cu in (plan.cu_tubes, plan.cu_windows):
        if cu is not None and cu.numel() == num_boundaries:
            return cu
    raise ValueError(f"The anchors fit no segmentation with {num_boundaries - 1} segments.")
