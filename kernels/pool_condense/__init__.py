"""pool_condense: rows that stand on a grid, pooled by areas whose side may differ from group to group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from framegate.kernels.dispatch import Backend, kernels_run, require, uses_triton
from framegate.kernels.pool_condense.reference import area_segments, areas_of, grid_of, rows_at, spans_of
from framegate.kernels.segment_merge import require_segments, spread
from framegate.kernels.segment_merge.reference import merge_rows, shares_of

__all__ = ["area_segments", "pool_areas", "pool_condense"]


def pool_condense(
    features: Tensor, size: Tensor, place: Tensor, area: Tensor, *, backend: Backend = "auto"
) -> tuple[Tensor, Tensor, Tensor]:
    """Average the rows of every area of the grid, each weighted by its size.

    Args:
        features: [N, D], floating point.
        size: int64 [N], at least 1: what each row weighs.
        place: group, row and column at which each row stands, int64 [N, 3], 0 and above; rows may share a place. Best
            kept on the CPU, whatever the features' device: areas are counted on the host.
        area: rows and columns of the areas into which the row's group is cut, int64 [N, 2], at least 1, the same for
            all rows of a group. Areas start at row and column 0, so those at the far borders may be smaller.
        backend: "auto", "torch" or "triton"; the kernel takes no rows that share a place.

    Returns:
        merged [M, D] in the features' dtype; their sizes, int64 [M]; the area of each row, int64 [N], numbered by
        group, then in reading order, areas without a row left out.

    Raises:
        ValueError: shapes that do not match, a negative place, an area below 1 or differing inside a group, a size
            below 1.
        BackendError: an unknown backend, or "triton" where it cannot run.

    Source: KFFocus (arXiv 2508.08989): area pooling by a per-frame ratio; sparse grids and weights: ours.
        Differentiable in features.
    """
    segment = area_segments(place, area)
    count = int(segment.max()) + 1 if len(segment) else 0
    merged, total = pool_areas(features, size, place, area, segment, count, backend=backend)
    return merged, total, segment


def pool_areas(
    features: Tensor,
    size: Tensor,
    place: Tensor,
    area: Tensor,
    segment: Tensor,
    num_segments: int,
    *,
    backend: Backend = "auto",
) -> tuple[Tensor, Tensor]:
    """Average the rows of every segment of the grid, each weighted by its size, where the segments are known.

    Args:
        features: [N, D], floating point.
        size: int64 [N], at least 1: what each row weighs.
        place: group, row and column at which each row stands, int64 [N, 3], 0 and above. place, area and segment share
            a device, best the CPU, else the features': there the host waits once to read how far the grid goes, and
            whether rows share a place, unless the backend is "torch".
        area: rows and columns of the areas into which the row's group is cut, int64 [N, 2], at least 1.
        segment: int64 [N], in [0, num_segments), areas numbered as by area_segments or in any other way; a segment may
            be a part of an area, never more than one; -1 leaves the row out.
        num_segments: M; every segment has at least one row.
        backend: "auto", "torch" or "triton"; the kernel takes no rows that share a place, and no grid of more than 2^24
            cells. In a compiled graph both are seen only when it runs, and "auto" then turns to the reference.

    Returns:
        merged [M, D] in the features' dtype, accumulated in at least float32; and its sizes, int64 [M], both on the
        features' device. A row alone in its segment keeps its bits. The kernel adds in reading order, always the same.

    Raises:
        ValueError: shapes or devices that do not match, a negative place, an area or a size below 1, a segment out of
            range, without a row, or in several areas.
        BackendError: an unknown backend, or "triton" where it cannot run.

    Source: as pool_condense; segments that are parts of areas: ours. Differentiable in features.
    """
    areas = _checked_areas(features, size, place, area, segment, num_segments)
    blind = not kernels_run(backend, features.device) or torch.compiler.is_compiling()
    shape, obstacle = ([], None) if blind else grid_of(place)
    size, segment = size.to(features.device), segment.to(features.device)
    share, total = shares_of(size, segment, num_segments, features.dtype)
    if not uses_triton("pool_condense", backend, features.device, obstacle):
        return merge_rows(features, share, segment, num_segments), total
    return pool(features.contiguous(), share, segment.contiguous(), place, areas, shape, backend), total


def _checked_areas(
    features: Tensor, size: Tensor, place: Tensor, area: Tensor, segment: Tensor, num_segments: int
) -> Tensor:
    """Look at everything where it lives, and give each segment's area as `areas_of`, int64 [M, 5]."""
    rows = len(features)
    shapes = [tuple(x.shape) for x in (features, size, place, area, segment)]
    if features.ndim != 2 or shapes[1:] != [(rows,), (rows, 3), (rows, 2), (rows,)]:
        raise ValueError(
            "features, size, place, area and segment must be [N, D], [N], [N, 3], [N, 2] and [N], got "
            f"{', '.join(map(str, shapes))}."
        )
    if not place.device == area.device == segment.device:
        raise ValueError(
            f"place, area and segment must share a device, got {place.device}, {area.device} and {segment.device}."
        )
    require(
        (place >= 0).all() & (area >= 1).all(),
        lambda: f"place must be 0 or more and area 1 or more, got {int(place.min())} and {int(area.min())}.",
        "pool_condense: places are 0 or more and areas 1 or more",
    )
    require_segments("pool_condense", size, segment, num_segments)
    areas, own = areas_of(place, area, segment, num_segments)
    require(
        own.all(),
        lambda: f"Segment {int(segment[~own][0])} of {num_segments} has rows in several areas.",
        "pool_condense: every segment lies in one area",
    )
    require(
        (areas[:, 3] > 0).all(),
        lambda: f"Segment {int((areas[:, 3] == 0).nonzero()[0])} of {num_segments} has no row.",
        "pool_condense: every segment has a row",
    )
    return areas


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
