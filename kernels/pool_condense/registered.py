"""pool_condense's kernel as a torch op, so that torch.compile keeps its graph and autograd knows the way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from framegate.kernels.dispatch import Backend, uses_triton
from framegate.kernels.pool_condense.lookup import grid_of, rows_at, spans_of
from framegate.kernels.segment_merge.reference import merge_rows
from framegate.kernels.segment_merge.registered import spread


@torch.library.custom_op("framegate::pool_areas", mutates_args=())
def pool(
    features: Tensor,
    share: Tensor,
    segment: Tensor,
    place: Tensor,
    areas: Tensor,
    shape: Sequence[int],
    backend: str,
) -> Tensor:
    """Pool by the Triton kernel.

    Args:
        features: [N, D], contiguous.
        share: what each row gives to its segment's mean, [N].
        segment: int64 [N], -1 leaves the row out.
        place: int64 [N, 3], on this device or the CPU.
        areas: int64 [M, 5] of `areas_of`, where the places are.
        shape: groups, rows and columns of the grid; empty in a compiled graph, which could not look at the places.
        backend: as asked for, for the choice that is made here when shape is empty.

    Returns:
        [M, D].
    """
    if not shape:
        shape, obstacle = grid_of(place)
        if not uses_triton("pool_condense", cast(Backend, backend), features.device, obstacle):
            return merge_rows(features, share, segment, len(areas))
    from framegate.kernels.pool_condense import triton_kernel

    row_at, spans = (x.to(features.device) for x in (rows_at(place, shape), spans_of(areas, shape)))
    return triton_kernel.pool(features, share, segment, row_at, spans, shape[2])


@pool.register_fake
def _(
    features: Tensor,
    share: Tensor,
    segment: Tensor,
    place: Tensor,
    areas: Tensor,
    shape: Sequence[int],
    backend: str,
) -> Tensor:
    return features.new_empty(len(areas), features.shape[1])


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[1], inputs[2])


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    share, segment = ctx.saved_tensors
    return spread(grad.contiguous(), share, segment), None, None, None, None, None, None


pool.register_autograd(_backward, setup_context=_save)
