"""How much tokens look like their tube and like their video: the score that VidCom2 and equal shares go by."""

from __future__ import annotations

import torch
from torch import Tensor

KERNEL_WIDTHS = (0.125, 0.25, 0.5, 1.0, 2.0)
# the released code compares the half of the channels that vary least
STEADY_SHARE = 0.5


@torch.no_grad()
def likeness(features: Tensor, tube: Tensor, *, channel_share: float = STEADY_SHARE) -> tuple[Tensor, Tensor]:
    """Measure how much each token of a video looks like the video, and like its own tube.

    Args:
        features: [n, D].
        tube: tube of each token, int64 [n], from 0 without gaps.
        channel_share: share of the channels that are compared, those of the smallest variance, at least one.

    Returns:
        Likeness to the video's mean and to the tube's mean, float32 [n] on the CPU, each the sum of Gaussians of
        five widths of the distance between unit vectors and their mean, in (0, 5].

    Source: VidCom2 (arXiv 2505.14454), by its released code.
    """
    rows = features.float()
    count = max(1, int(rows.shape[1] * channel_share))
    steady = rows.var(dim=0, unbiased=False).argsort(stable=True)[:count]
    unit = torch.nn.functional.normalize(rows[:, steady], dim=1)
    tube = tube.to(unit.device)
    sizes = torch.bincount(tube)
    means = unit.new_zeros(len(sizes), count).index_add_(0, tube, unit) / sizes[:, None]
    return _gaussians(unit - unit.mean(dim=0)).cpu(), _gaussians(unit - means[tube]).cpu()


def _gaussians(difference: Tensor) -> Tensor:
    distance = difference.square().sum(dim=1)  # [n]
    return torch.stack([torch.exp(-distance / (2 * width)) for width in KERNEL_WIDTHS]).sum(dim=0)
