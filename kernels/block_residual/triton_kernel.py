"""block_residual on a GPU: one program reads a strip of neighbouring blocks once, line by line."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from framegate.kernels.block_residual import reference

L2_WEIGHT = tl.constexpr(reference.L2_WEIGHT)
SSIM_C1, SSIM_C2 = tl.constexpr(reference.SSIM_C1), tl.constexpr(reference.SSIM_C2)

LINES = 8
STRIP = 256


@triton.jit
def distance(u, v, METRIC: tl.constexpr):
    """What two int32 values add to the sum of their block, for "mad" and "l2"."""
    if METRIC == "mad":
        return tl.abs(u - v)
    else:
        return (u - v) * (u - v)


@triton.jit
def dissimilarity(sum_a, sum_b, square_a, square_b, product, count: tl.constexpr):
    """1 - SSIM of blocks of `count` values of 0 to 255, from exact int32 sums, as float32."""
    a, b = sum_a.to(tl.int64), sum_b.to(tl.int64)
    unit = 255.0 * count
    mean_a, mean_b = a.to(tl.float64) / unit, b.to(tl.float64) / unit
    # whole numbers until the last division: a difference of large sums would lose its digits
    variance_a = (count * square_a.to(tl.int64) - a * a).to(tl.float64) / (unit * unit)
    variance_b = (count * square_b.to(tl.int64) - b * b).to(tl.float64) / (unit * unit)
    covariance = (count * product.to(tl.int64) - a * b).to(tl.float64) / (unit * unit)
    luminance = (2 * mean_a * mean_b + SSIM_C1) / (mean_a * mean_a + mean_b * mean_b + SSIM_C1)
    structure = (2 * covariance + SSIM_C2) / (variance_a + variance_b + SSIM_C2)
    return tl.minimum(tl.maximum(1 - luminance * structure, 0.0), 2.0).to(tl.float32)


@triton.jit
def distance_of_sum(total, count: tl.constexpr, METRIC: tl.constexpr):
    """The residual from a block's exact sum of differences, as float32."""
    if METRIC == "mad":
        return tl.div_rn(total.to(tl.float32), 1.0 * count)
    else:
        return tl.sqrt_rn(total.to(tl.float32) * L2_WEIGHT)


@triton.jit
def residual_kernel(
    frames_a,
    frames_b,
    out,
    rows,
    columns,
    PLANES: tl.constexpr,
    CELL: tl.constexpr,
    SIDE: tl.constexpr,
    CELLS: tl.constexpr,
    LINES: tl.constexpr,
    METRIC: tl.constexpr,
):
    """Write the residuals of CELLS neighbouring blocks; tiles are [LINES, CELLS, SIDE], SIDE >= CELL."""
    strip = tl.program_id(0).to(tl.int64)
    block = tl.program_id(1) * CELLS + tl.arange(0, CELLS)
    inner = tl.arange(0, SIDE)
    width = columns * CELL
    first = strip // rows * PLANES * rows * CELL * width + strip % rows * CELL * width
    across = block[None, :, None] * CELL + inner[None, None, :]
    present = (block < columns)[None, :, None] & (inner < CELL)[None, None, :]
    total = tl.zeros([CELLS, SIDE], tl.int32)
    if METRIC == "ssim":
        sum_a, sum_b = tl.zeros([CELLS, SIDE], tl.int32), tl.zeros([CELLS, SIDE], tl.int32)
        square_a, square_b = tl.zeros([CELLS, SIDE], tl.int32), tl.zeros([CELLS, SIDE], tl.int32)
    for plane in range(0, PLANES):
        for top in range(0, CELL, LINES):
            line = top + tl.arange(0, LINES)
            place = first + plane * rows * CELL * width + line[:, None, None] * width + across
            wanted = (line < CELL)[:, None, None] & present
            a = tl.load(frames_a + place, mask=wanted, other=0).to(tl.int32)
            b = tl.load(frames_b + place, mask=wanted, other=0).to(tl.int32)
            if METRIC == "ssim":
                sum_a += tl.sum(a, axis=0)
                sum_b += tl.sum(b, axis=0)
                square_a += tl.sum(a * a, axis=0)
                square_b += tl.sum(b * b, axis=0)
                total += tl.sum(a * b, axis=0)
            else:
                total += tl.sum(distance(a, b, METRIC), axis=0)
    count: tl.constexpr = PLANES * CELL * CELL
    if METRIC == "ssim":
        found = dissimilarity(
            tl.sum(sum_a, axis=1),
            tl.sum(sum_b, axis=1),
            tl.sum(square_a, axis=1),
            tl.sum(square_b, axis=1),
            tl.sum(total, axis=1),
            count,
        )
    else:
        found = distance_of_sum(tl.sum(total, axis=1), count, METRIC)
    tl.store(out + strip * columns + block, found, mask=block < columns)


def tile_of(cell_px: int) -> tuple[int, int, int]:
    """Side of a tile's cells, cells and lines of a tile: powers of two."""
    side = triton.next_power_of_2(cell_px)
    return side, max(1, STRIP // side), min(LINES, side)


def residual(frames_a: Tensor, frames_b: Tensor, cell_px: int, metric: str) -> Tensor:
    """Launch residual_kernel: uint8 [..., k, h, w] twice, contiguous -> float32 [..., H, W]."""
    *lead, planes, height, width = frames_a.shape
    rows, columns = height // cell_px, width // cell_px
    out = torch.empty((*lead, rows, columns), dtype=torch.float32, device=frames_a.device)
    side, cells, lines = tile_of(cell_px)
    if out.numel():
        with torch.cuda.device_of(frames_a):
            residual_kernel[(out.numel() // columns, triton.cdiv(columns, cells))](
                frames_a, frames_b, out, rows, columns, planes, cell_px, side, cells, lines, metric
            )
    return out
