"""anchor_scan's kernel as a torch op."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.library.custom_op("framegate::anchor_scan", mutates_args=())
def scan(
    frames: Tensor, thresholds: Tensor, cell_px: int, metric: str, max_age: int, most: int
) -> tuple[Tensor, Tensor]:
    """Scan by the Triton kernel, as `triton_kernel.scan`."""
    from framegate.kernels.anchor_scan import triton_kernel

    return triton_kernel.scan(frames, thresholds, cell_px, metric, max_age, most)


@scan.register_fake
def _(
    frames: Tensor, thresholds: Tensor, cell_px: int, metric: str, max_age: int, most: int
) -> tuple[Tensor, Tensor]:
    steps, _planes, height, width = frames.shape
    shape = (len(thresholds), steps, height // cell_px, width // cell_px)
    return frames.new_empty(shape, dtype=torch.bool), frames.new_empty(shape, dtype=torch.float32)
