"""The way back of anchored_attention: every segment's weights are worked out again, none are kept."""

from __future__ import annotations

import torch
from torch import Tensor

from framegate.kernels.anchored_attention.reference import Turn, gathered, rotate_half, segments


def gradients(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    rows: Tensor | None,
    turn: Turn | None,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of queries, keys and values, one segment after the other, in at least float32.

    Args:
        grad: [N, h, d], gradient of what `attend_segments` gives for the other arguments.
        query: [N, h, d].
        key: [M0, h, d].
        value: [M0, h, d].
        cu_seqlens_q: int32 [S + 1].
        cu_seqlens_k: int32 [S + 1].
        rows: int64 [M], or None.
        turn: cosine and sine [M, d], or None.
        scale: factor on the scores.

    Returns:
        The gradients, each in the shape and dtype of its tensor.
    """
    wide = torch.promote_types(query.dtype, torch.float32)
    dq, dk, dv = (torch.zeros_like(part, dtype=wide) for part in (query, key, value))
    for queries, keys in segments(cu_seqlens_q, cu_seqlens_k):
        q, g = query[queries].to(wide), grad[queries].to(wide)
        k, v = gathered(key, keys, rows, turn).to(wide), gathered(value, keys, rows, None).to(wide)
        weight = (torch.einsum("qhd,khd->hqk", q, k) * scale).softmax(-1)
        above = torch.einsum("qhd,khd->hqk", g, v)
        score = weight * (above - (weight * above).sum(-1, keepdim=True)) * scale
        dq[queries] = torch.einsum("hqk,khd->qhd", score, k)
        place = torch.arange(keys.start, keys.stop, device=key.device) if rows is None else rows[keys]
        dk.index_add_(0, place, _turned_back(torch.einsum("hqk,qhd->khd", score, q), turn, keys))
        dv.index_add_(0, place, torch.einsum("hqk,qhd->khd", weight, g))
    return dq.to(query.dtype), dk.to(key.dtype), dv.to(value.dtype)


def _turned_back(grad: Tensor, turn: Turn | None, span: slice) -> Tensor:
    """The transpose of turning keys: [n, h, d]."""
    if turn is None:
        return grad
    cos, sin = (part[span, None].to(grad.dtype) for part in turn)
    return grad * cos - rotate_half(grad * sin)
