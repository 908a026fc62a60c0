"""block_residual in plain torch: the law that every faster version is compared with."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

Metric = Literal["mad", "ssim", "l2"]

SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2
# CLIP's standard deviations; one grey level counts in all three channels.
L2_WEIGHT = sum((255.0 * deviation) ** -2 for deviation in (0.26862954, 0.26130258, 0.27577711))


def block_residual(frames_a: Tensor, frames_b: Tensor, cell_px: int, metric: Metric = "mad") -> Tensor:
    """Compare two stacks of frames block by block.

    Args:
        frames_a: [..., k, h, w], values 0 to 255, any dtype; h and w multiples of cell_px.
        frames_b: same shape.
        cell_px: side of a block.
        metric: "mad" mean absolute difference, "l2" Euclidean norm of the normalised difference, "ssim" one
            minus structural similarity with values scaled to [0, 1]; each over the k * cell_px * cell_px
            values of a block.

    Returns:
        float32 [..., h / cell_px, w / cell_px]; sums are exact for integer frames.

    Raises:
        ValueError: shapes that differ, sizes that are no multiples of cell_px, an unknown metric.

    Source: mad ours; ssim and l2 GRT (arXiv 2509.14199), released code. Deterministic; no backward.
    """
    if frames_a.shape != frames_b.shape:
        raise ValueError(f"Shapes {tuple(frames_a.shape)} and {tuple(frames_b.shape)} differ.")
    a, b = _blocks(frames_a, cell_px), _blocks(frames_b, cell_px)
    if metric == "mad":
        return ((a - b).abs().sum(dim=-1).float() / a.shape[-1]).float()
    if metric == "l2":
        return ((a - b).square().sum(dim=-1).float() * L2_WEIGHT).sqrt()
    if metric == "ssim":
        return _dissimilarity(a / 255, b / 255)
    raise ValueError(f"metric is {metric!r}; it must be 'mad', 'ssim' or 'l2'.")


def _blocks(frames: Tensor, cell_px: int) -> Tensor:
    *lead, planes, height, width = frames.shape
    if height % cell_px or width % cell_px:
        raise ValueError(f"Frames of {width} x {height} are no whole number of {cell_px}-px blocks.")
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
