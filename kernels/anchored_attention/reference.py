"""anchored_attention in plain torch: the law that every faster version is compared with."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

Turn = tuple[Tensor, Tensor]


def attend_segments(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    rows: Tensor | None,
    turn: Turn | None,
    scale: float,
    dropout: float = 0.0,
) -> Tensor:
    """Attend segment by segment with torch's own attention; shapes as in `anchored_attention`."""
    out = []
    # split, not sliced: the way back of a slice is as large as the whole, for every segment
    parts = query.split(cu_seqlens_q.diff().tolist())
    for part, keys in zip(parts, _spans(cu_seqlens_k), strict=True):
        if not len(part):
            continue
        k, v = gathered(key, keys, rows, turn), gathered(value, keys, rows, None)
        q, k, v = (x.transpose(0, 1) for x in (part, k, v))  # [h, n, d]
        # without keys nothing is seen, where torch would say NaN
        seen = attend_one(q, k, v, scale, dropout) if k.shape[1] else torch.zeros_like(q)
        out.append(seen.transpose(0, 1))  # [n, h, d]
    return torch.cat(out) if out else torch.zeros_like(query)


def attend_one(query: Tensor, key: Tensor, value: Tensor, scale: float, dropout: float) -> Tensor:
    """Attend within one segment, [h, n, d], as a batch of one: so transformers calls it, and the bits are the same."""
    q, k, v = query[None], key[None], value[None]
    return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=scale)[0]


def segments(cu_seqlens_q: Tensor, cu_seqlens_k: Tensor) -> list[tuple[slice, slice]]:
    """Queries and keys of every segment that has a query."""
    spans = zip(_spans(cu_seqlens_q), _spans(cu_seqlens_k), strict=True)
    return [(queries, keys) for queries, keys in spans if queries.stop > queries.start]


def _spans(cu_seqlens: Tensor) -> list[slice]:
    ends = cu_seqlens.tolist()
    return [slice(start, end) for start, end in zip(ends, ends[1:], strict=False)]


def gathered(values: Tensor, span: slice, rows: Tensor | None, turn: Turn | None) -> Tensor:
    """Rows [n, h, d] of a segment's keys, each turned by its own angle where there is one."""
    found = values[span] if rows is None else values.index_select(0, rows[span])
    if turn is None:
        return found
    cos, sin = (part[span, None] for part in turn)
    wide = found.to(torch.promote_types(found.dtype, torch.float32))
    return (wide * cos + rotate_half(wide) * sin).to(found.dtype)


def rotate_half(x: Tensor) -> Tensor:
    """Turn pairs (first half, second half) of the last dimension by a right angle."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


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

    Arguments and shapes as in `attend_segments`, whose result has the gradient `grad` [N, h, d]. The weights are
    worked out again, none are kept.
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
