"""compact: the rows that are kept, close together and in order."""

from __future__ import annotations

import torch
from torch import Tensor

from framegate.kernels.compact.reference import kept_rows
from framegate.kernels.dispatch import Backend, require, uses_triton

__all__ = ["compact"]


def compact(rows: Tensor, keep: Tensor, num_kept: int, *, backend: Backend = "auto") -> Tensor:
    """Gather the rows that are kept.

    Args:
        rows: [N, D], of real numbers.
        keep: bool [N], on the rows' device.
        num_kept: K, how many are kept; known beforehand, so that no host waits for a count.
        backend: "auto", "torch" or "triton".

    Returns:
        [K, D], in the order of the rows.

    Raises:
        ValueError: shapes that do not match, or a mask that keeps another number.
        BackendError: an unknown backend, or "triton" where it cannot run.

    Deterministic; differentiable by the torch reference alone.
    """
    if rows.ndim != 2 or keep.shape != rows.shape[:1]:
        raise ValueError(f"rows {tuple(rows.shape)} and keep {tuple(keep.shape)} must be [N, D] and [N].")
    require(
        keep.sum() == num_kept,
        lambda: f"keep holds {int(keep.sum())} rows; num_kept is {num_kept}.",
        "compact: keep holds num_kept rows",
    )
    obstacle = "rows ask for a gradient, which the kernel has none of" if rows.requires_grad else None
    if not uses_triton("compact", backend, rows.device, obstacle):
        return kept_rows(rows, keep, num_kept)
    return compacted(rows.contiguous(), keep.contiguous(), num_kept)


@torch.library.custom_op("framegate::compact", mutates_args=())
def compacted(rows: Tensor, keep: Tensor, num_kept: int) -> Tensor:
    """Gather by the Triton kernel, as `triton_kernel.compacted`."""
    from framegate.kernels.compact import triton_kernel

    return triton_kernel.compacted(rows, keep, num_kept)


@compacted.register_fake
def _(rows: Tensor, keep: Tensor, num_kept: int) -> Tensor:
    return rows.new_empty(num_kept, rows.shape[1])
