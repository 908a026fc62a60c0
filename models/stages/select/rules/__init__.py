"""The rules of selection, one file each, and what several of them go by.

A rule's `rank(video, wanted, settings)` gives the score of each token, float [n], the higher the more telling, and the
tokens that each tube keeps, int64 [T], which sum to `wanted`, from 1 to n - 1. `BASELINE` marks a rival's rule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from framegate.models.stages.select import SelectConfig

KERNEL_WIDTHS = (0.125, 0.25, 0.5, 1.0, 2.0)
# the released code compares the half of the channels that vary least
STEADY_SHARE = 0.5


@dataclass(frozen=True, kw_only=True)
class VideoToChoose:
    """One video as a rule sees it: n tokens in the order of their cells, T tubes that hold tokens.

    Args:
        features: what would enter the language model, [n, D], where the model is.
        tube: tube of each token, int64 [n], rising from 0 without gaps.
        sizes: tokens of each tube, int64 [T].
        age: tubes since each token's content was encoded, int64 [n].
        change: how much each token's cell had changed when the gate decided, float [n]; None when nothing says.
        query: embeddings of the question, [Q, D]; None unless `select.use_query` asks for it.
    """

    features: Tensor = field(repr=False)
    tube: Tensor = field(repr=False)
    sizes: Tensor = field(repr=False)
    age: Tensor = field(repr=False)
    change: Tensor | None = None
    query: Tensor | None = None


Rank = Callable[[VideoToChoose, int, SelectConfig], tuple[Tensor, Tensor]]


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
    sizes, tube = torch.bincount(tube).to(unit.device), tube.to(unit.device)
    means = unit.new_zeros(len(sizes), count).index_add_(0, tube, unit) / sizes[:, None]
    alike = torch.stack([_gaussians(unit - unit.mean(dim=0)), _gaussians(unit - means[tube])])
    # one copy: every read waits until the device has run the tower
    like_video, like_tube = alike.cpu()
    return like_video, like_tube


def _gaussians(difference: Tensor) -> Tensor:
    distance = difference.square().sum(dim=1)  # [n]
    return torch.stack([torch.exp(-distance / (2 * width)) for width in KERNEL_WIDTHS]).sum(dim=0)


def best_of_tubes(scores: Tensor, tube: Tensor, counts: Tensor) -> Tensor:
    """Keep the best tokens of every tube: scores [n], tube [n], counts [T] -> bool [n], ties to the earlier cell."""
    order = scores.argsort(descending=True, stable=True)
    order = order[tube[order].argsort(stable=True)]
    sizes = torch.bincount(tube, minlength=len(counts))
    rank = torch.arange(len(order)) - (sizes.cumsum(0) - sizes)[tube[order]]
    keep = torch.zeros(len(order), dtype=torch.bool)
    keep[order] = rank < counts[tube[order]]
    return keep


def equal_counts(sizes: Tensor, wanted: int) -> Tensor:
    """Share tokens out over tubes of these sizes, int64 [T], as evenly as they allow: int64 [T], sums to `wanted`.

    Full tubes give what they cannot take to the others; what does not divide is spread evenly over time.
    """
    counts = torch.zeros_like(sizes)
    left = wanted
    while left:
        open_tubes = (counts < sizes).nonzero()[:, 0]
        each, rest = divmod(left, len(open_tubes))
        # the middle of each of `rest` like stretches of the open tubes
        extra = (torch.arange(rest) * 2 + 1) * len(open_tubes) // (2 * max(rest, 1))
        more = torch.full_like(open_tubes, each)
        more[extra] += 1
        more = torch.minimum(more, (sizes - counts)[open_tubes])
        counts[open_tubes] += more
        left -= int(more.sum())
    return counts
