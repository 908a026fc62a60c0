"""anchored_attention: packed segments, whose keys and values may stand elsewhere and be turned on the way."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from framegate.kernels.anchored_attention.reference import Turn, attend_segments, gradients
from framegate.kernels.dispatch import Backend, uses_triton

__all__ = ["anchored_attention"]

Tiles = dict[int, tuple[Tensor, Tensor]]

MOST_WIDTH = 128
DTYPES = ("torch.float32", "torch.float16", "torch.bfloat16")


def anchored_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    *,
    rows: Tensor | None = None,
    turn: Turn | None = None,
    scale: float | None = None,
    dropout: float = 0.0,
    tiles: Tiles | None = None,
    backend: Backend = "auto",
) -> Tensor:
    """Attend the queries of every segment to keys and values gathered by row.

    Args:
        query: [N, h, d], packed.
        key: [M0, h, d].
        value: [M0, h, d].
        cu_seqlens_q: int32 [S + 1], where each segment's queries begin, 0 first and N last; segments may be empty.
        cu_seqlens_k: int32 [S + 1], where its keys begin, in `rows` or, without, in `key`.
        rows: int64 [M], row of `key` and `value` that stands at each place; None where each stands for itself.
        turn: cosine and sine, [M, d] each, of the rotary angle by which each place turns its key; None turns none.
        scale: factor on the scores; None for d ** -0.5.
        dropout: probability of dropping a weight; the kernel drops none.
        tiles: an empty dict, handed to all calls of one pass through a tower: how the kernel cuts segments into tiles
            is worked out once for each number of boundaries, which must tell segmentations apart. None does it anew.
        backend: "auto", "torch" or "triton".

    Returns:
        [N, h, d]; zeros for queries of a segment without keys.

    Raises:
        ValueError: shapes that do not match.
        BackendError: an unknown backend, or "triton" where it cannot run.

    Source: the softmax that runs along is FlashAttention's (arXiv 2205.14135). Deterministic forward.
        Differentiable once in query, key and value. "auto" takes the reference where gradients are wanted: the kernel's
        way back works the weights out again in torch, segment by segment.
    """
    _check(query, key, value, cu_seqlens_q, cu_seqlens_k, rows, turn)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    wants_grad = torch.is_grad_enabled() and any(part.requires_grad for part in (query, key, value))
    doubt = "gradients are wanted, and the way back is a loop over segments" if wants_grad else None
    if not uses_triton("anchored_attention", backend, query.device, _obstacle(query, dropout), doubt=doubt):
        return attend_segments(query, key, value, cu_seqlens_q, cu_seqlens_k, rows, turn, scale, dropout)
    query, key, value = (_dense(part) for part in (query, key, value))
    cos, sin = (None, None) if turn is None else (part.float().contiguous() for part in turn)
    rows = None if rows is None else rows.long().contiguous()
    cu_seqlens_q, cu_seqlens_k = (cu.int().contiguous() for cu in (cu_seqlens_q, cu_seqlens_k))
    segment, start = _cut(query, cu_seqlens_q, {} if tiles is None else tiles)
    return attend(query, key, value, cu_seqlens_q, cu_seqlens_k, rows, cos, sin, segment, start, scale)


def _cut(query: Tensor, cu_seqlens_q: Tensor, tiles: Tiles) -> tuple[Tensor, Tensor]:
    """Segment and first query of the kernel's tiles, as `tiles_of`."""
    from framegate.kernels.anchored_attention import triton_kernel

    number = len(cu_seqlens_q)
    if number not in tiles:
        size = triton_kernel.tile_of(query.shape[-1], query.dtype)["QUERIES"]
        tiles[number] = tiles_of(cu_seqlens_q, len(query), size)
    return tiles[number]


def _dense(part: Tensor) -> Tensor:
    return part if part.stride(-1) == 1 else part.contiguous()


def _obstacle(query: Tensor, dropout: float) -> str | None:
    if dropout:
        return f"dropout is {dropout}, the kernel drops no weights"
    if str(query.dtype) not in DTYPES:
        return f"queries are {query.dtype}, the kernel takes {', '.join(DTYPES)}"
    if query.shape[-1] > MOST_WIDTH:
        return f"heads are {query.shape[-1]} wide, the kernel takes {MOST_WIDTH} at most"
    return None


def _check(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_q: Tensor,
    cu_k: Tensor,
    rows: Tensor | None,
    turn: Turn | None,
) -> None:
    if query.ndim != 3 or key.shape != value.shape or query.shape[1:] != key.shape[1:]:
        shapes = ", ".join(str(tuple(part.shape)) for part in (query, key, value))
        raise ValueError(
            f"query, key and value are {shapes}; they must be [N, h, d], [M, h, d] and [M, h, d]."
        )
    if cu_q.ndim != 1 or cu_q.shape != cu_k.shape or not len(cu_q):
        raise ValueError(
            f"cu_seqlens_q {tuple(cu_q.shape)} and cu_seqlens_k {tuple(cu_k.shape)} must both be [S + 1]."
        )
    if not query.dtype == key.dtype == value.dtype:
        raise ValueError(
            f"query, key and value are {query.dtype}, {key.dtype} and {value.dtype}; make them one."
        )
    if turn is None:
        return
    if query.shape[-1] % 2:
        raise ValueError(f"heads are {query.shape[-1]} wide; keys are turned in pairs.")
    wanted = (len(key) if rows is None else len(rows), query.shape[-1])
    if any(tuple(part.shape) != wanted for part in turn):
        raise ValueError(
            f"turn is {' and '.join(str(tuple(part.shape)) for part in turn)}; it must be {wanted}."
        )


def tiles_of(cu_seqlens_q: Tensor, num_queries: int, size: int) -> tuple[Tensor, Tensor]:
    """Cut segments into tiles of `size` queries, without asking a device how long they are.

    Gives the segment of each tile, int32, S for tiles that are not needed; and its first query, int64.
    """
    lengths = cu_seqlens_q.diff().long()
    behind = ((lengths + size - 1) // size).cumsum(0)
    # the most that any lengths could take
    tile = torch.arange(num_queries // size + len(lengths), device=cu_seqlens_q.device)
    segment = torch.searchsorted(behind, tile, right=True)
    inside = segment.clamp(max=len(lengths) - 1)
    number = tile - (behind - (lengths + size - 1) // size)[inside]
    return segment.int(), cu_seqlens_q[inside].long() + number * size


@torch.library.custom_op("framegate::anchored_attention", mutates_args=())
def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    rows: Tensor | None,
    cos: Tensor | None,
    sin: Tensor | None,
    tile_segment: Tensor,
    tile_start: Tensor,
    scale: float,
) -> Tensor:
    """Attend by the Triton kernel, as `triton_kernel.attend`."""
    from framegate.kernels.anchored_attention import triton_kernel

    return triton_kernel.attend(
        query, key, value, cu_seqlens_q, cu_seqlens_k, rows, cos, sin, tile_segment, tile_start, scale
    )


@attend.register_fake
def _(query: Tensor, *_others: Any) -> Tensor:
    return query.new_empty(query.shape)


@torch.library.custom_op("framegate::anchored_attention_backward", mutates_args=())
def attend_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    rows: Tensor | None,
    cos: Tensor | None,
    sin: Tensor | None,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Work the weights out again in torch, as `reference.gradients`."""
    turn = None if cos is None or sin is None else (cos, sin)
    return gradients(grad, query, key, value, cu_seqlens_q, cu_seqlens_k, rows, turn, scale)


@attend_backward.register_fake
def _(
    grad: Tensor, query: Tensor, key: Tensor, value: Tensor, *_others: Any
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:8])
    ctx.scale = inputs[-1]


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return *attend_backward(grad.contiguous(), *ctx.saved_tensors, ctx.scale), *[None] * 8


attend.register_autograd(_backward, setup_context=_save)
