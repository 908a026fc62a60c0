"""segment_merge: the size-weighted mean of rows that share a segment."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from framegate.kernels.dispatch import Backend, require, uses_triton
from framegate.kernels.segment_merge.reference import merge_rows, shares_of

__all__ = ["segment_merge"]


def segment_merge(
    features: Tensor, size: Tensor, segment: Tensor, num_segments: int, *, backend: Backend = "auto"
) -> tuple[Tensor, Tensor]:
    """Average the rows of every segment, each weighted by its size.

    Args:
        features: [N, D], floating point.
        size: int64 [N], at least 1: what each row weighs.
        segment: int64 [N], segment of each row, in [0, num_segments) in any order; -1 leaves the row out.
        num_segments: M; every segment has at least one row.
        backend: "auto", "torch" or "triton".

    Returns:
        merged [M, D] in the features' dtype, accumulated in at least float32; and its sizes, int64 [M]. A row alone in
        its segment keeps its bits. The kernel adds in the order of the rows, always the same.

    Raises:
        ValueError: lengths that differ, a segment out of range or without a row, a size below 1.
        BackendError: an unknown backend, or "triton" where it cannot run.

    Source: ToMe (arXiv 2210.09461), proportional merging; segments of any shape: ours. Differentiable in features.
    """
    _check(features, size, segment, num_segments)
    share, total = shares_of(size, segment, num_segments, features.dtype)
    require(
        (total > 0).all(),
        lambda: f"Segment {int((total == 0).nonzero()[0])} of {num_segments} has no row.",
        "segment_merge: every segment has a row",
    )
    if not uses_triton("segment_merge", backend, features.device):
        return merge_rows(features, share, segment, num_segments), total
    segment = segment.contiguous()
    order, starts = rows_by_segment(segment, num_segments)
    return merge(features.contiguous(), share, segment, order, starts), total


def rows_by_segment(segment: Tensor, num_segments: int) -> tuple[Tensor, Tensor]:
    """Sort rows by segment: their order, int64 [N], and where each segment begins in it, int64 [M + 1]."""
    count = segment.new_zeros(num_segments + 1).index_add(0, segment + 1, torch.ones_like(segment))
    return torch.argsort(segment, stable=True), count.cumsum(0)


def _check(features: Tensor, size: Tensor, segment: Tensor, num_segments: int) -> None:
    if not (features.ndim == 2 and len(features) == len(size) == len(segment)):
        raise ValueError(
            f"features {tuple(features.shape)}, size {tuple(size.shape)} and segment {tuple(segment.shape)} must be "
            "[N, D], [N] and [N]."
        )
    require_segments("segment_merge", size, segment, num_segments)


def require_segments(op: str, size: Tensor, segment: Tensor, num_segments: int) -> None:
    """Refuse segments outside [-1, num_segments) and sizes below 1, both int64 [N].

    Raises:
        ValueError: as `dispatch.require`.
    """
    require(
        ((segment >= -1) & (segment < num_segments)).all(),
        lambda: f"segment must lie in [-1, {num_segments}), got {segment.min()} to {segment.max()}.",
        f"{op}: segments lie in [-1, num_segments)",
    )
    require(
        (size >= 1).all(),
        lambda: f"size must be at least 1, got {size.min().item()}.",
        f"{op}: sizes are at least 1",
    )


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
