"""scene_divergence on a GPU: one program sums a stretch of values for a row of p and several rows of q."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from framegate.kernels.scene_divergence.reference import Kind, most_of

ROWS = 4
VALUES = 256  # twice as many spill registers on compute 10.0
STEPS = 16  # blocks of values that a program takes
TERMS = 12  # of the series; what follows them is below a rounding up to |d| = SMALL
SMALL = 0.5


@triton.jit(do_not_specialize=["rows", "blocks"])
def divergence_kernel(
    p,
    q,
    partial,
    rows,
    blocks,
    values,
    REVERSED: tl.constexpr,
    ROWS: tl.constexpr,
    VALUES: tl.constexpr,
    STEPS: tl.constexpr,
    TERMS: tl.constexpr,
    SMALL: tl.constexpr,
):
    """Write partial[split, row, others] = sum of s / 4 * bits(d) over the split's values; s = p + q, d = (p - q) / s.

    bits is even in d: p and q can be exchanged bit by bit. It is (1 + d) log(1 + d) + (1 - d) log(1 - d), or when
    reversed -log(1 - d^2), taken as -log(2p / s) - log(2q / s), for d may round to 1 although neither value is 0; where
    |d| is small, the series of the same in d^2, for there the logarithms cancel.
    """
    pair, split = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    first = split * STEPS * VALUES
    row = pair // blocks
    other = pair % blocks * ROWS + tl.arange(0, ROWS)
    present = other < rows
    total = tl.zeros([ROWS, VALUES], tl.float32)
    for begin in range(first, tl.minimum(first + STEPS * VALUES, values), VALUES):
        value = begin + tl.arange(0, VALUES)
        inside = value < values
        left = tl.load(p + row * values + value, mask=inside, other=0).to(tl.float32)[None, :]
        wanted = present[:, None] & inside[None, :]
        right = tl.load(q + other[:, None] * values + value[None, :], mask=wanted, other=0).to(tl.float32)
        mass = left + right
        # rounded to nearest, so that a value divided by itself is 1
        skew = tl.div_rn(tl.abs(left - right), tl.where(mass == 0, 1.0, mass))
        square = skew * skew
        series = tl.zeros([ROWS, VALUES], tl.float32)
        for done in tl.static_range(TERMS):
            if REVERSED:
                series = series * square + 1.0 / (TERMS - done)
            else:
                series = series * square + 1.0 / ((TERMS - done) * (2 * (TERMS - done) - 1))
        if REVERSED:
            divisor = tl.where(mass == 0, 1.0, mass)
            bits = -(tl.log(2 * left / divisor) + tl.log(2 * right / divisor))
        else:
            # 0 log 0 = 0 = 1 log 1
            more, less = 1 + skew, tl.where(skew == 1, 1.0, 1 - skew)
            bits = more * tl.log(more) + less * tl.log(less)
        total += mass * tl.where(skew <= SMALL, square * series, bits)
    count = tl.num_programs(0) // blocks
    tl.store(partial + (split * count + row) * rows + other, tl.sum(total, axis=1) * 0.25, mask=present)


def diverge(p: Tensor, q: Tensor, kind: Kind) -> Tensor:
    """Launch divergence_kernel, and add up its parts: [N, V] and [M, V], contiguous -> float32 [N, M]."""
    values, blocks = p.shape[1], triton.cdiv(len(q), ROWS)
    splits = triton.cdiv(values, STEPS * VALUES)
    partial = torch.empty((splits, len(p), len(q)), dtype=torch.float32, device=p.device)
    if partial.numel():
        with torch.cuda.device_of(p):
            divergence_kernel[(len(p) * blocks, splits)](
                p,
                q,
                partial,
                len(q),
                blocks,
                values,
                kind == "reversed",
                ROWS,
                VALUES,
                STEPS,
                TERMS,
                SMALL,
            )
    return partial.sum(0).clamp(0, most_of(kind))
