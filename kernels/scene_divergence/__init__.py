"""scene_divergence: how far the distributions of scenes are from each other, pair by pair."""

from __future__ import annotations

from typing import cast, get_args

import torch
from torch import Tensor

from framegate.kernels.dispatch import Backend, require, uses_triton
from framegate.kernels.scene_divergence.reference import Kind, divergences

__all__ = ["Kind", "scene_divergence"]

KERNEL_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def scene_divergence(
    p: Tensor, q: Tensor | None = None, *, kind: Kind = "jensen_shannon", backend: Backend = "auto"
) -> Tensor:
    """Measure how far every distribution of p is from every distribution of q.

    With m = (p + q) / 2 per value:

    - "jensen_shannon": [KL(p || m) + KL(q || m)] / 2, in [0, ln 2], ln 2 for distributions that share nothing.
    - "reversed": [KL(m || p) + KL(m || q)] / 2, no upper bound, infinite where one gives 0 and the other does not.

    Args:
        p: distributions [N, V], floating point, no value below 0, rows that add up to 1 (to within 1 %).
        q: distributions [M, V]; None for p itself.
        kind: which divergence.
        backend: "auto", "torch" or "triton"; the kernel sums in float32 and takes no float64.

    Returns:
        Divergence in nats (natural logarithm), [N, M] float32 (float64 stays float64), no gradient. Symmetric to
        rounding, and exactly 0 for equal rows. The kernel adds in one order, always the same.

    Raises:
        ValueError: an unknown kind, shapes that do not match, or rows that are no distributions.
        BackendError: an unknown backend, or "triton" where it cannot run.

    Source: GRT (arXiv 2509.14199) stage 2 names the Jensen-Shannon divergence; "reversed" is what its released code
        computes. The form that does not cancel is ours.
    """
    if kind not in get_args(Kind):
        raise ValueError(f"kind is {kind!r}; it must be one of {get_args(Kind)}.")
    left = _distributions(p, "p")
    right = left if q is None else _distributions(q, "q")
    if left.shape[1] != right.shape[1]:
        raise ValueError(
            f"p is {tuple(p.shape)} and q is {tuple(right.shape)}; they must have as many columns."
        )
    if not uses_triton("scene_divergence", backend, left.device, _obstacle(left, right)):
        return divergences(left, right, kind)
    return diverge(left.contiguous(), right.contiguous(), kind)


def _obstacle(p: Tensor, q: Tensor) -> str | None:
    """Say why the kernel cannot take these rows, None where it can."""
    for rows in (p, q):
        if rows.dtype not in KERNEL_DTYPES:
            return f"it sums in float32, which is too coarse for {rows.dtype}"
    return None


def _distributions(rows: Tensor, name: str) -> Tensor:
    """Look that the rows are distributions, and leave gradients behind."""
    if rows.ndim != 2 or not rows.is_floating_point():
        raise ValueError(
            f"{name} must be floating point [rows, values], got {rows.dtype} {tuple(rows.shape)}."
        )
    rows = rows.detach()
    sums = rows.sum(1, dtype=torch.promote_types(rows.dtype, torch.float32))
    good = ((sums - 1).abs() < 0.01) & ~(rows < 0).any(1)

    def complaint() -> str:
        row = int((~good).nonzero()[0])
        return (
            f"{name}[{row}] adds up to {sums[row]:.4g} with a least value of {rows[row].min():.4g}; a distribution has "
            "no value below 0 and adds up to 1: pass softmax, not logits."
        )

    require(good.all(), complaint, f"scene_divergence: rows of {name} are distributions")
    return rows


@torch.library.custom_op("framegate::scene_divergence", mutates_args=())
def diverge(p: Tensor, q: Tensor, kind: str) -> Tensor:
    """Measure by the Triton kernel, as `triton_kernel.diverge`."""
    from framegate.kernels.scene_divergence import triton_kernel

    return triton_kernel.diverge(p, q, cast(Kind, kind))


@diverge.register_fake
def _(p: Tensor, q: Tensor, kind: str) -> Tensor:
    return p.new_empty((len(p), len(q)), dtype=torch.float32)
