"""block_residual's kernel as a torch op."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.library.custom_op("framegate::block_residual", mutates_args=())
def residual(frames_a: Tensor, frames_b: Tensor, cell_px: int, metric: str) -> Tensor:
    """Compare by the Triton kernel, as `triton_kernel.residual`."""
    from framegate.kernels.block_residual import triton_kernel

    return triton_kernel.residual(frames_a, frames_b, cell_px, metric)


@residual.register_fake
def _(frames_a: Tensor, frames_b: Tensor, cell_px: int, metric: str) -> Tensor:
    *lead, _planes, height, width = frames_a.shape
    return frames_a.new_empty((*lead, height // cell_px, width // cell_px), dtype=torch.float32)
