"""anchor_scan on a GPU: one program holds what a cell shows in registers and walks through time.

The rule that keeps a step whole couples all cells of the step. Where it is on, the steps are launched one by one: a
launch counts the cells that changed, the next one reads the count. The host never waits.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from framegate.kernels.block_residual.triton_kernel import dissimilarity, distance, distance_of_sum

VALUES_PER_WARP = 1024


@triton.jit
def cell_residual(now, shown, count: tl.constexpr, METRIC: tl.constexpr):
    """Residual of one cell's int32 values against those shown in its place; tiles hold 0 outside the cell."""
    if METRIC == "ssim":
        return dissimilarity(
            tl.sum(now),
            tl.sum(shown),
            tl.sum(now * now),
            tl.sum(shown * shown),
            tl.sum(now * shown),
            count,
        )
    else:
        return distance_of_sum(tl.sum(distance(now, shown, METRIC)), count, METRIC)


@triton.jit(do_not_specialize=["first", "last", "steps", "max_age", "most"])
def scan_kernel(
    frames,
    thresholds,
    keep,
    residual,
    anchor,
    changed,
    first,
    last,
    steps,
    rows,
    columns,
    max_age,
    most,
    PLANES: tl.constexpr,
    CELL: tl.constexpr,
    LINES: tl.constexpr,
    SIDE: tl.constexpr,
    METRIC: tl.constexpr,
    COUNTS: tl.constexpr,
):
    """Scan one cell for one threshold from step `first` to `last`; a tile is [LINES, SIDE], all planes of the cell."""
    cell, scan = tl.program_id(0), tl.program_id(1).to(tl.int64)
    cells, width = rows * columns, columns * CELL
    line, inner = tl.arange(0, LINES), tl.arange(0, SIDE)
    down = line // CELL * rows * CELL + cell // columns * CELL + line % CELL
    place = down[:, None] * width + (cell % columns * CELL + inner)[None, :]
    wanted = (line < PLANES * CELL)[:, None] & (inner < CELL)[None, :]
    step_size = tl.cast(PLANES * rows * CELL * width, tl.int64)
    threshold = tl.load(thresholds + scan)
    count: tl.constexpr = PLANES * CELL * CELL

    shown_at = tl.load(anchor + scan * cells + cell, mask=first > 0, other=0)
    if COUNTS:
        before = tl.load(changed + scan * steps + first - 1, mask=first > 0, other=0)
        shown_at = tl.where((first > 0) & (before > most), first - 1, shown_at)
    shown = tl.load(frames + shown_at * step_size + place, mask=wanted, other=0).to(tl.int32)
    for step in range(first, last):
        now = tl.load(frames + step * step_size + place, mask=wanted, other=0).to(tl.int32)
        found = cell_residual(now, shown, count, METRIC)
        found = tl.where(step == 0, 0.0, found)
        over = found > threshold
        if COUNTS:
            tl.atomic_add(changed + scan * steps + step, over.to(tl.int32))
        kept = over | (step - shown_at >= max_age) | (step == 0)
        at = (scan * steps + step) * cells + cell
        tl.store(keep + at, kept.to(tl.int8))
        tl.store(residual + at, found)
        shown = tl.where(kept, now, shown)
        shown_at = tl.where(kept, step, shown_at)
    tl.store(anchor + scan * cells + cell, shown_at)


def tile_of(planes: int, cell_px: int) -> tuple[int, int, int]:
    """Lines and side of a cell's tile, powers of two, and the warps that share it."""
    lines, side = triton.next_power_of_2(planes * cell_px), triton.next_power_of_2(cell_px)
    return lines, side, min(max(lines * side // VALUES_PER_WARP, 1), 16)


def scan(
    frames: Tensor, thresholds: Tensor, cell_px: int, metric: str, max_age: int, most: int
) -> tuple[Tensor, Tensor]:
    """Launch scan_kernel, once, or once per step where a step may be kept whole.

    frames uint8 [T, k, h, w], contiguous, and thresholds float32 [K] -> keep, bool, and residual, float32, [K, T, H,
    W]. A cell is kept again after `max_age` steps, a step whole where more than `most` cells change.
    """
    steps, planes, height, width = frames.shape
    rows, columns, scans = height // cell_px, width // cell_px, len(thresholds)
    shape, at = (scans, steps, rows, columns), frames.device
    keep = torch.empty(shape, dtype=torch.int8, device=at)
    residual = torch.empty(shape, dtype=torch.float32, device=at)
    anchor = torch.empty((scans, rows, columns), dtype=torch.int32, device=at)
    changed = torch.zeros((scans, steps), dtype=torch.int32, device=at)
    counts = most < rows * columns
    lines, side, warps = tile_of(planes, cell_px)
    size = 1 if counts else steps
    if keep.numel():
        with torch.cuda.device_of(frames):
            for first in range(0, steps, size):
                scan_kernel[(rows * columns, scans)](
                    frames, thresholds, keep, residual, anchor, changed, first, first + size, steps,
                    rows, columns, max_age, most, planes, cell_px, lines, side, metric, counts, num_warps=warps,
                )  # fmt: skip
    whole = (changed > most)[:, :, None, None]
    return keep.view(torch.bool) | whole, residual
