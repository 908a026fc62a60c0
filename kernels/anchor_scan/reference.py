"""anchor_scan in plain torch: the law that every faster version is compared with."""

from __future__ import annotations

import torch
from torch import Tensor

from framegate.kernels.block_residual.reference import Metric, block_residual


def anchor_scan(
    frames: Tensor,
    cell_px: int,
    threshold: float,
    *,
    metric: Metric = "mad",
    max_age: int | None = None,
    keyframe_fraction: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Decide, step by step, which cells differ too much from what was last kept in their place.

    Args:
        frames: [T, k, h, w], values 0 to 255; h and w multiples of cell_px.
        cell_px: side of a cell.
        threshold: a cell is kept when its residual is above this.
        metric: as for block_residual.
        max_age: a cell is kept again after this many steps; None never.
        keyframe_fraction: a step of which a larger share is above the threshold is kept whole.

    Returns:
        keep, bool [T, H, W], all True in the first step; and the residuals it was decided by, float32 [T, H,
        W], 0 in the first step.

    Raises:
        ValueError: sizes that are no multiples of cell_px, an unknown metric.

    Source: GRT (arXiv 2509.14199) section 3, with the cached-source reference of its released code; ours in
    max_age and in the share being strict. Deterministic; no backward.
    """
    shown = frames[0].clone()
    residual = block_residual(shown, shown, cell_px, metric)
    keep = torch.ones_like(residual, dtype=torch.bool)
    age = torch.ones_like(residual, dtype=torch.long)
    kept, residuals = [keep], [torch.zeros_like(residual)]
    for step in frames[1:]:
        residual = block_residual(step, shown, cell_px, metric)
        changed = residual > threshold
        keep = changed if max_age is None else changed | (age >= max_age)
        if changed.double().mean() > keyframe_fraction:
            keep = torch.ones_like(changed)
        pixels = keep.repeat_interleave(cell_px, dim=0).repeat_interleave(cell_px, dim=1)
        shown = torch.where(pixels, step, shown)
        age = torch.where(keep, 0, age) + 1
        kept.append(keep)
        residuals.append(residual)
    return torch.stack(kept), torch.stack(residuals)
