"""compact's kernel as a torch op."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.library.custom_op("framegate::compact", mutates_args=())
def compacted(rows: Tensor, keep: Tensor, num_kept: int) -> Tensor:
    """Gather by the Triton kernel, as `triton_kernel.compacted`."""
    from framegate.kernels.compact import triton_kernel

    return triton_kernel.compacted(rows, keep, num_kept)


@compacted.register_fake
def _(rows: Tensor, keep: Tensor, num_kept: int) -> Tensor:
    return rows.new_empty(num_kept, rows.shape[1])
