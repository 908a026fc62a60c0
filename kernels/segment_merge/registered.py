"""segment_merge's kernels as torch ops, so that torch.compile keeps its graph and autograd knows the way back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


@torch.library.custom_op("framegate::segment_merge", mutates_args=())
def merge(features: Tensor, share: Tensor, segment: Tensor, order: Tensor, starts: Tensor) -> Tensor:
    """Merge by the Triton kernel, as `triton_kernel.merge`; `segment` is for the way back."""
    from framegate.kernels.segment_merge import triton_kernel

    return triton_kernel.merge(features, share, order, starts)


@merge.register_fake
def _(features: Tensor, share: Tensor, segment: Tensor, order: Tensor, starts: Tensor) -> Tensor:
    return features.new_empty(len(starts) - 1, features.shape[1])


@torch.library.custom_op("framegate::segment_spread", mutates_args=())
def spread(merged: Tensor, share: Tensor, segment: Tensor) -> Tensor:
    """Give every row its segment's values times its share, as `triton_kernel.spread`."""
    from framegate.kernels.segment_merge import triton_kernel

    return triton_kernel.spread(merged, share, segment)


@spread.register_fake
def _(merged: Tensor, share: Tensor, segment: Tensor) -> Tensor:
    return merged.new_empty(len(segment), merged.shape[1])


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[1], inputs[2])


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
    share, segment = ctx.saved_tensors
    return spread(grad.contiguous(), share, segment), None, None, None, None


merge.register_autograd(_backward, setup_context=_save)
