"""block_residual in plain torch: the law that every faster version is compared with."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

Metric = Literal["mad", "ssim", "l2"]

SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2
# CLIP's standard deviations; one grey level counts in all three channels.
L2_WEIGHT = sum((255.0 * deviation) ** -2 for deviation in (0.26862954, 0.26130258, 0.27577711))


def block_distances(frames_a: Tensor, frames_b: Tensor, cell_px: int, metric: Metric) -> Tensor:
    """Compare frames [..., k, h, w] block by block: float32 [..., h / cell_px, w / cell_px]."""
    a, b = _blocks(frames_a, cell_px), _blocks(frames_b, cell_px)
    if metric == "mad":
        return ((a - b).abs().sum(dim=-1).float() / a.shape[-1]).float()
    if metric == "l2":
        return ((a - b).square().sum(dim=-1).float() * L2_WEIGHT).sqrt()
    return _dissimilarity(a / 255, b / 255)


def _blocks(frames: Tensor, cell_px: int) -> Tensor:
    *lead, planes, height, width = frames.shape
    split = frames.double().reshape(*lead, planes, height // cell_px, cell_px, width // cell_px, cell_px)
    return split.movedim((-5, -3), (-3, -2)).flatten(-3)  # [..., H, W, k * c * c]


def _dissimilarity(a: Tensor, b: Tensor) -> Tensor:
    mean_a, mean_b = a.mean(dim=-1), b.mean(dim=-1)
    away_a, away_b = a - mean_a[..., None], b - mean_b[..., None]
    variance_a, variance_b = away_a.square().mean(dim=-1), away_b.square().mean(dim=-1)
    covariance = (away_a * away_b).mean(dim=-1)
    luminance = (2 * mean_a * mean_b + SSIM_C1) / (mean_a.square() + mean_b.square() + SSIM_C1)
    structure = (2 * covariance + SSIM_C2) / (variance_a + variance_b + SSIM_C2)
    return (1 - luminance * structure).clamp(0, 2).float()
