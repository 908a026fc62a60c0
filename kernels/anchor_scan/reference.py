"""anchor_scan in plain torch: the law that every faster version is compared with."""

from __future__ import annotations

import torch
from torch import Tensor

from framegate.kernels.block_residual.reference import Metric, block_distances


def scan_frames(
    frames: Tensor,
    cell_px: int,
    thresholds: Tensor,
    metric: Metric,
    max_age: int | None,
    keyframe_fraction: float,
) -> tuple[Tensor, Tensor]:
    """Scan frames [T, k, h, w] for thresholds [K]: keep, bool [K, T, H, W], and residuals, float32 [K, T, H, W]."""
    scans = [
        _scan(frames, cell_px, threshold, metric, max_age, keyframe_fraction) for threshold in thresholds
    ]
    return torch.stack([keep for keep, _ in scans]), torch.stack([residual for _, residual in scans])


def _scan(
    frames: Tensor,
    cell_px: int,
    threshold: Tensor,
    metric: Metric,
    max_age: int | None,
    keyframe_fraction: float,
) -> tuple[Tensor, Tensor]:
    shown = frames[0].clone()
    residual = torch.zeros_like(block_distances(shown, shown, cell_px, metric))
    age = torch.ones_like(residual, dtype=torch.long)
    kept, residuals = [torch.ones_like(residual, dtype=torch.bool)], [residual]
    for step in frames[1:]:
        residual = block_distances(step, shown, cell_px, metric)
        changed = residual > threshold
        keep = changed if max_age is None else changed | (age >= max_age)
        # of a tensor, so that no step waits for a device
        keep = keep | (changed.double().mean() > keyframe_fraction)
        pixels = keep.repeat_interleave(cell_px, dim=0).repeat_interleave(cell_px, dim=1)
        shown = torch.where(pixels, step, shown)
        age = torch.where(keep, 0, age) + 1
        kept.append(keep)
        residuals.append(residual)
    return torch.stack(kept), torch.stack(residuals)
