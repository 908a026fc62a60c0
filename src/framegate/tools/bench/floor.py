"""The floor: what the device at hand needs to move an op's bytes, or to do its matrix products.

Both rates are measured beside the providers, in the same run: a copy, and a product of square matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from framegate.tools.bench.case import Setting, Work
from framegate.tools.bench.timing import Spread

COPY, PRODUCT = "copy (floor)", "matrix product (floor)"
# large enough that caches do not serve them
COPY_BYTES = {"cuda": 1 << 30, "cpu": 1 << 28, "quick": 1 << 20}
PRODUCT_SIDE = {"cuda": 8192, "cpu": 1024, "quick": 64}


def rate_calls(work: Work, dtype: torch.dtype, setting: Setting) -> dict[str, Callable[[], Any]]:
    """Make the calls whose times give the rates that a floor needs.

    Args:
        work: what the floor is of; without FLOPs only the copy is made.
        dtype: of the matrix product.
        setting: where to run, and how large.

    Returns:
        Calls by name.

    Source: ours.
    """
    source = torch.ones(COPY_BYTES[setting.size], dtype=torch.uint8, device=setting.device)
    target = torch.zeros_like(source)
    calls: dict[str, Callable[[], Any]] = {COPY: lambda: target.copy_(source)}
    if work.flops:
        side = PRODUCT_SIDE[setting.size]
        left = torch.randn(side, side, generator=setting.generator()).to(setting.device, dtype)
        calls[PRODUCT] = lambda: left @ left
    return calls


def floor_ms(work: Work, times: Mapping[str, Spread], size: str) -> float:
    """Work out the floor.

    Args:
        work: bytes and FLOPs.
        times: of the calls of `rate_calls`.
        size: the setting's, which says how much they did.

    Returns:
        Milliseconds: the larger of moving the bytes and doing the products.

    Source: the roofline model (Williams et al., 2009); rates as measured: ours.
    """
    moving = work.num_bytes / (2 * COPY_BYTES[size]) * times[COPY].p50  # a copy reads and writes
    if not work.flops:
        return moving
    return max(moving, work.flops / (2 * PRODUCT_SIDE[size] ** 3) * times[PRODUCT].p50)
