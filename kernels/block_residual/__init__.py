"""block_residual: how far the blocks of one stack of frames are from those of another."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor

from framegate.kernels.block_residual.reference import Metric, block_distances
from framegate.kernels.dispatch import Backend, uses_triton

__all__ = ["Metric", "block_residual"]

# sums of squares of 0 to 255 over a block are whole numbers of 32 bits in the kernels
MOST_SQUARES = (2**31 - 1) // 255**2


def block_residual(
    frames_a: Tensor, frames_b: Tensor, cell_px: int, metric: Metric = "mad", *, backend: Backend = "auto"
) -> Tensor:
    """Compare two stacks of frames block by block.

    Args:
        frames_a: [..., k, h, w], values 0 to 255, any dtype; h and w multiples of cell_px.
        frames_b: same shape.
        cell_px: side of a block.
        metric: "mad" mean absolute difference, "l2" Euclidean norm of the normalised difference, "ssim" one
            minus structural similarity with values scaled to [0, 1]; each over the k * cell_px * cell_px
            values of a block.
        backend: "auto", "torch" or "triton"; the kernel takes uint8.

    Returns:
        float32 [..., h / cell_px, w / cell_px]; sums are exact for integer frames.

    Raises:
        ValueError: shapes that differ, sizes that are no multiples of cell_px, an unknown metric.
        BackendError: an unknown backend, or "triton" where it cannot run.

    Source: mad ours; ssim and l2 GRT (arXiv 2509.14199), released code. Deterministic; no backward.
    """
    if frames_a.shape != frames_b.shape:
        raise ValueError(f"Shapes {tuple(frames_a.shape)} and {tuple(frames_b.shape)} differ.")
    check_blocks(frames_a, cell_px, metric)
    obstacle = obstacle_of(frames_a, cell_px, metric) or obstacle_of(frames_b, cell_px, metric)
    if not uses_triton("block_residual", backend, frames_a.device, obstacle):
        return block_distances(frames_a, frames_b, cell_px, metric)
    return residual(frames_a.contiguous(), frames_b.contiguous(), cell_px, metric)


def check_blocks(frames: Tensor, cell_px: int, metric: Metric) -> None:
    """Refuse frames [..., k, h, w] that are no whole number of blocks, and metrics that do not exist."""
    height, width = frames.shape[-2:]
    if height % cell_px or width % cell_px:
        raise ValueError(f"Frames of {width} x {height} are no whole number of {cell_px}-px blocks.")
    if metric not in get_args(Metric):
        raise ValueError(f"metric is {metric!r}; it must be 'mad', 'ssim' or 'l2'.")


def obstacle_of(frames: Tensor, cell_px: int, metric: Metric) -> str | None:
    """Say why the kernels cannot compare such frames, None where they can."""
    if frames.dtype != torch.uint8:
        return f"frames are {frames.dtype}, the kernel takes torch.uint8"
    values = frames.shape[-3] * cell_px**2
    if metric != "mad" and values > MOST_SQUARES:
        return f"a block has {values} values, and squares of more than {MOST_SQUARES} do not fit the kernel's sums"
    return None


@torch.library.custom_op("framegate::block_residual", mutates_args=())
def residual(frames_a: Tensor, frames_b: Tensor, cell_px: int, metric: str) -> Tensor:
    """Compare by the Triton kernel, as `triton_kernel.residual`."""
    from framegate.kernels.block_residual import triton_kernel

    return triton_kernel.residual(frames_a, frames_b, cell_px, metric)


@residual.register_fake
def _(frames_a: Tensor, frames_b: Tensor, cell_px: int, metric: str) -> Tensor:
    *lead, _planes, height, width = frames_a.shape
    return frames_a.new_empty((*lead, height // cell_px, width // cell_px), dtype=torch.float32)
