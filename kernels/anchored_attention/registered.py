"""anchored_attention's kernel as a torch op, forward and backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from framegate.kernels.anchored_attention import backward


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
    """Work the weights out again in torch, as `backward.gradients`."""
    turn = None if cos is None or sin is None else (cos, sin)
    return backward.gradients(grad, query, key, value, cu_seqlens_q, cu_seqlens_k, rows, turn, scale)


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
