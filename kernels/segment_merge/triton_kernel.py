"""segment_merge on a GPU: one program adds up a segment's rows for a strip of columns, in their own order."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

ROWS = 4
SPREAD_ROWS = 8
MAX_COLUMNS = 512


def columns_of(width: int) -> int:
    """Columns that one program handles, a power of two."""
    return min(MAX_COLUMNS, triton.next_power_of_2(width))


@triton.jit
def merge_kernel(
    features,
    share,
    order,
    starts,
    merged,
    width,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    WIDE: tl.constexpr,
):
    """Write merged[segment] = sum of share * features over the rows order[starts[segment] : starts[segment + 1]]."""
    segment = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < width
    first, last = tl.load(starts + segment), tl.load(starts + segment + 1)
    total = tl.zeros([COLUMNS], WIDE)
    for begin in range(first, last, ROWS):
        place = begin + tl.arange(0, ROWS)
        present = place < last
        row = tl.load(order + place, mask=present, other=0)
        weight = tl.load(share + row, mask=present, other=0)
        wanted = present[:, None] & inside[None, :]
        values = tl.load(features + row[:, None] * width + column[None, :], mask=wanted, other=0)
        total += tl.sum(values.to(WIDE) * weight[:, None], axis=0)
    tl.store(merged + segment * width + column, total, mask=inside)


@triton.jit(do_not_specialize=["rows"])
def spread_kernel(
    merged, share, segment, out, rows, width, ROWS: tl.constexpr, COLUMNS: tl.constexpr, WIDE: tl.constexpr
):
    """Write out[row] = share[row] * merged[segment[row]], zeros where the segment is -1."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    present, inside = row < rows, column < width
    source = tl.load(segment + row, mask=present, other=-1)
    weight = tl.load(share + row, mask=present, other=0)
    wanted = (source >= 0)[:, None] & inside[None, :]
    values = tl.load(merged + source[:, None] * width + column[None, :], mask=wanted, other=0)
    tl.store(
        out + row[:, None] * width + column[None, :],
        values.to(WIDE) * weight[:, None],
        mask=present[:, None] & inside[None, :],
    )


def wide_of(tensor: Tensor) -> tl.dtype:
    """What sums are made in: float64 for float64, else float32."""
    return tl.float64 if tensor.dtype == torch.float64 else tl.float32


def merge(features: Tensor, share: Tensor, order: Tensor, starts: Tensor) -> Tensor:
    """Launch merge_kernel: features [N, D], contiguous, and their shares [N] -> [M, D].

    `order` holds the rows by segment, int64, and `starts`, int64 [M + 1], where each segment's rows begin in it.
    """
    merged = torch.empty((len(starts) - 1, features.shape[1]), dtype=features.dtype, device=features.device)
    columns = columns_of(max(features.shape[1], 1))
    if merged.numel():
        with torch.cuda.device_of(features):
            merge_kernel[(len(merged), triton.cdiv(features.shape[1], columns))](
                features, share, order, starts, merged, features.shape[1], ROWS, columns, wide_of(features)
            )
    return merged


def spread(merged: Tensor, share: Tensor, segment: Tensor) -> Tensor:
    """Launch spread_kernel: merged [M, D], contiguous, shares [N] and segments int64 [N] -> [N, D]."""
    out = torch.empty((len(segment), merged.shape[1]), dtype=merged.dtype, device=merged.device)
    columns = columns_of(max(merged.shape[1], 1))
    if out.numel():
        with torch.cuda.device_of(merged):
            spread_kernel[(triton.cdiv(len(out), SPREAD_ROWS), triton.cdiv(merged.shape[1], columns))](
                merged, share, segment, out, len(out), merged.shape[1], SPREAD_ROWS, columns, wide_of(merged)
            )
    return out
