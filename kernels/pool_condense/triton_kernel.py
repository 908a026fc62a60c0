"""pool_condense on a GPU: one program walks the cells of a segment's area and adds up its rows, for some columns."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from framegate.kernels.segment_merge.triton_kernel import columns_of, wide_of

ROWS = 4


@triton.jit(do_not_specialize=["line"])
def pool_kernel(
    features,
    share,
    segment_of,
    row_at,
    spans,
    pooled,
    line,
    width,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    WIDE: tl.constexpr,
):
    """Write pooled[segment] = sum of share * features over the segment's rows among the cells of its span.

    Rows are found by row_at, [cells], -1 for none; a grid's line has `line` cells. Other segments' rows are passed by.
    """
    segment = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    inside = column < width
    first, wide = tl.load(spans + segment * 3), tl.load(spans + segment * 3 + 2)
    cells = tl.load(spans + segment * 3 + 1) * wide
    total = tl.zeros([COLUMNS], WIDE)
    for begin in range(0, cells, ROWS):
        cell = begin + tl.arange(0, ROWS)
        row = tl.load(row_at + first + cell // wide * line + cell % wide, mask=cell < cells, other=-1)
        mine = tl.load(segment_of + row, mask=row >= 0, other=-1) == segment
        weight = tl.load(share + row, mask=mine, other=0)
        wanted = mine[:, None] & inside[None, :]
        values = tl.load(features + row[:, None] * width + column[None, :], mask=wanted, other=0)
        total += tl.sum(values.to(WIDE) * weight[:, None], axis=0)
    tl.store(pooled + segment * width + column, total, mask=inside)


def pool(
    features: Tensor, share: Tensor, segment: Tensor, row_at: Tensor, spans: Tensor, line: int
) -> Tensor:
    """Launch pool_kernel: features [N, D], contiguous, their shares [N] and segments int64 [N] -> [M, D].

    `row_at`, int64, holds the row at each cell of a grid of `line` cells a row, -1 for none; `spans`, int64 [M, 3], the
    first cell, rows and columns of each segment's area.
    """
    pooled = torch.empty((len(spans), features.shape[1]), dtype=features.dtype, device=features.device)
    columns = columns_of(max(features.shape[1], 1))
    if pooled.numel():
        with torch.cuda.device_of(features):
            pool_kernel[(len(pooled), triton.cdiv(features.shape[1], columns))](
                features,
                share,
                segment,
                row_at,
                spans,
                pooled,
                line,
                features.shape[1],
                ROWS,
                columns,
                wide_of(features),
            )
    return pooled
