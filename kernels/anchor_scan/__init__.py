"""anchor_scan: the causal gate, cell by cell, against the content that was last encoded."""

from __future__ import annotations

import torch
from torch import Tensor

from framegate.kernels.anchor_scan.reference import scan_frames
from framegate.kernels.block_residual import Metric, check_blocks, obstacle_of
from framegate.kernels.dispatch import Backend, uses_triton

__all__ = ["anchor_scan"]

# a cell is held in registers from step to step
MOST_VALUES = 32768
NEVER = 2**31 - 1


def anchor_scan(
    frames: Tensor,
    cell_px: int,
    threshold: float | Tensor,
    *,
    metric: Metric = "mad",
    max_age: int | None = None,
    keyframe_fraction: float = 1.0,
    backend: Backend = "auto",
) -> tuple[Tensor, Tensor]:
    """Decide, step by step, which cells differ too much from what was last kept in their place.

    Args:
        frames: [T, k, h, w], values 0 to 255; h and w multiples of cell_px.
        cell_px: side of a cell.
        threshold: a cell is kept when its residual is above this; a tensor [K] scans for each of K thresholds.
        metric: as for block_residual.
        max_age: a cell is kept again after this many steps; None never.
        keyframe_fraction: a step of which a larger share is above the threshold is kept whole.
        backend: "auto", "torch" or "triton"; the kernel takes uint8.

    Returns:
        keep, bool [T, H, W], all True in the first step; and the residuals it was decided by, float32 [T, H,
        W], 0 in the first step. Both [K, T, H, W] for K thresholds.

    Raises:
        ValueError: no step, sizes that are no multiples of cell_px, an unknown metric, thresholds of another shape.
        BackendError: an unknown backend, or "triton" where it cannot run.

    Source: GRT (arXiv 2509.14199) section 3, with the cached-source reference of its released code; ours in
    max_age and in the share being strict. Deterministic; no backward.
    """
    check_blocks(frames, cell_px, metric)
    if frames.ndim != 4 or not len(frames):
        raise ValueError(f"frames are {tuple(frames.shape)}; they must be [T, k, h, w] with T of 1 or more.")
    # a number is filled in on the device: copied there, it would make the host wait
    if not isinstance(threshold, Tensor):
        threshold = torch.full((), threshold, device=frames.device)
    thresholds = threshold.float()
    if thresholds.ndim > 1:
        raise ValueError(f"threshold is {tuple(thresholds.shape)}; it must be a number or [K].")
    many = thresholds.reshape(-1).contiguous()
    if uses_triton("anchor_scan", backend, frames.device, _obstacle(frames, cell_px, metric)):
        cells = frames.shape[-2] // cell_px * (frames.shape[-1] // cell_px)
        age, most = NEVER if max_age is None else max_age, most_changed(keyframe_fraction, cells)
        keep, residual = scan(frames.contiguous(), many, cell_px, metric, age, most)
    else:
        keep, residual = scan_frames(frames, cell_px, many, metric, max_age, keyframe_fraction)
    return keep.reshape(*thresholds.shape, *keep.shape[1:]), residual.reshape(
        *thresholds.shape, *keep.shape[1:]
    )


def most_changed(keyframe_fraction: float, cells: int) -> int:
    """Cells that may change before a step is kept whole: the largest count whose share is not above the fraction."""
    count = min(max(int(keyframe_fraction * cells), 0), cells)
    while count < cells and (count + 1) / cells <= keyframe_fraction:
        count += 1
    while count >= 0 and count / cells > keyframe_fraction:
        count -= 1
    return count


def _obstacle(frames: Tensor, cell_px: int, metric: Metric) -> str | None:
    values = frames.shape[1] * cell_px**2
    if values > MOST_VALUES:
        return f"a cell has {values} values, and the kernel holds {MOST_VALUES} at most"
    return obstacle_of(frames, cell_px, metric)


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
