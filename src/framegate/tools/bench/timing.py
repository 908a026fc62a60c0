"""Times of calls that do the same, in turns on a CPU and by do_bench on a GPU, and the floor beside them.

The floor is what the device needs to move an op's bytes or to do its matrix products. Both rates are measured in the
same run: a copy, and a product of square matrices.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from framegate.errors import BackendError
from framegate.kernels.dispatch import why_no_triton
from framegate.tools.bench.case import Setting, Work

QUANTILES = (0.5, 0.2, 0.8)
TURNS_SECONDS, FEWEST_TURNS, MOST_TURNS, QUICK_TURNS = 6.0, 9, 60, 3
# do_bench's own milliseconds of warming up and of timing
GPU_MS, QUICK_GPU_MS = {"warmup": 25, "rep": 200}, {"warmup": 1, "rep": 5}


class Spread(NamedTuple):
    """Milliseconds of a call: the median, and the quantiles 0.2 and 0.8."""

    p50: float
    p20: float
    p80: float


def time_all(
    calls: Mapping[str, Callable[[], Any]], device: torch.device, *, quick: bool
) -> dict[str, Spread]:
    """Time calls that have run once before: milliseconds by name.

    On a CPU they take turns, so that the machine's noise meets all of them alike; on a GPU each is timed alone by
    device events, with a cold cache. BackendError for a GPU without Triton, whose do_bench does the timing.
    """
    if device.type == "cpu":
        return _in_turns(calls, quick=quick)
    missing = why_no_triton()
    if missing:
        raise BackendError(f"Times on {device.type} are taken by triton.testing.do_bench, and {missing}.")
    from triton.testing import do_bench

    limits = QUICK_GPU_MS if quick else GPU_MS
    return {
        name: Spread(*do_bench(call, quantiles=list(QUANTILES), **limits)) for name, call in calls.items()
    }


def _in_turns(calls: Mapping[str, Callable[[], Any]], *, quick: bool) -> dict[str, Spread]:
    times: dict[str, list[float]] = {name: [] for name in calls}
    turn = 0
    turns = QUICK_TURNS
    while turn < turns:
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            times[name].append((time.perf_counter() - started) * 1000)
        turn += 1
        if turn == 1 and not quick:
            fitting = 1000 * TURNS_SECONDS / sum(found[0] for found in times.values())
            turns = int(min(max(fitting, FEWEST_TURNS), MOST_TURNS))
    # the first turn only warms up
    return {name: Spread(*map(float, np.quantile(found[1:], QUANTILES))) for name, found in times.items()}


def peak_mib(call: Callable[[], Any], device: torch.device) -> float | None:
    """Measure the most memory that a call holds above what was held before; None on a CPU, which does not count."""
    if device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    kept = call()
    torch.cuda.synchronize(device)
    peak = torch.cuda.max_memory_allocated(device) - before
    del kept
    return peak / 2**20


COPY, PRODUCT = "copy (floor)", "matrix product (floor)"
# large enough that caches do not serve them
COPY_BYTES = {"cuda": 1 << 30, "cpu": 1 << 28, "quick": 1 << 20}
PRODUCT_SIDE = {"cuda": 8192, "cpu": 1024, "quick": 64}


def rate_calls(work: Work, dtype: torch.dtype, setting: Setting) -> dict[str, Callable[[], Any]]:
    """Make the calls whose times give the rates of a floor: a copy, and a product where there are FLOPs."""
    source = torch.ones(COPY_BYTES[setting.size], dtype=torch.uint8, device=setting.device)
    target = torch.zeros_like(source)
    calls: dict[str, Callable[[], Any]] = {COPY: lambda: target.copy_(source)}
    if work.flops:
        side = PRODUCT_SIDE[setting.size]
        left = torch.randn(side, side, generator=setting.generator()).to(setting.device, dtype)
        calls[PRODUCT] = lambda: left @ left
    return calls


def floor_ms(work: Work, times: Mapping[str, Spread], size: str) -> float:
    """Work out the floor, in ms: the larger of moving the bytes and doing the products, by the times of `rate_calls`.

    Source: the roofline model (Williams et al., 2009).
    """
    moving = work.num_bytes / (2 * COPY_BYTES[size]) * times[COPY].p50  # a copy reads and writes
    if not work.flops:
        return moving
    return max(moving, work.flops / (2 * PRODUCT_SIDE[size] ** 3) * times[PRODUCT].p50)
