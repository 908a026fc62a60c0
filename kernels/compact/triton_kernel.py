"""compact on a GPU: every kept row is copied to its place among the kept ones; others are not read."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

MAX_COLUMNS = 2048


@triton.jit(do_not_specialize=["num_kept"])
def compact_kernel(rows, keep, place, out, num_kept, width, COLUMNS: tl.constexpr):
    """Copy a strip of one row, where it is kept, to out[place[row]]."""
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    target = tl.load(place + row)
    # a mask that keeps more than was said writes nothing behind the end
    kept = (tl.load(keep + row) != 0) & (target < num_kept)
    # a block's mask and a scalar's joined by & are no mask in the interpreter of triton 3.9
    inside = column < tl.where(kept, width, 0)
    values = tl.load(rows + row * width + column, mask=inside, other=0)
    tl.store(out + target * width + column, values, mask=inside)


def columns_of(width: int) -> int:
    """Columns that one program copies, a power of two."""
    return min(MAX_COLUMNS, triton.next_power_of_2(width))


def compacted(rows: Tensor, keep: Tensor, num_kept: int) -> Tensor:
    """Launch compact_kernel: rows [N, D], contiguous, and a mask bool [N] of K rows -> [K, D]."""
    out = torch.empty((num_kept, rows.shape[1]), dtype=rows.dtype, device=rows.device)
    place = keep.cumsum(0) - 1
    columns = columns_of(max(rows.shape[1], 1))
    if out.numel():
        with torch.cuda.device_of(rows):
            compact_kernel[(len(rows), triton.cdiv(rows.shape[1], columns))](
                rows, keep.view(torch.int8), place, out, num_kept, rows.shape[1], columns
            )
    return out
