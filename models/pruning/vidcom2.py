"""VidCom2: the budget shared out over tubes by their uniqueness, and in each tube the tokens unlike the rest."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from framegate.errors import BudgetError
from framegate.models.pruning.config import PruningConfig
from framegate.models.video_tokens import VideoTokens

KERNEL_WIDTHS = (0.125, 0.25, 0.5, 1.0, 2.0)


@torch.no_grad()
def likeness(features: Tensor, tube: Tensor, *, channel_share: float) -> tuple[Tensor, Tensor]:
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


def tube_counts(uniqueness: Tensor, sizes: Tensor, wanted: int, *, temperature: float) -> Tensor:
    """Share a video's tokens out over its tubes.

    Args:
        uniqueness: of each tube, float [T]; the higher, the less it looks like the video.
        sizes: tokens of each tube, int64 [T], at least 1.
        wanted: tokens in all, from 1 to the sum of sizes.
        temperature: of the softmax over tubes.

    Returns:
        int64 [T], sums to wanted; every tube keeps a token where there are enough. What a full tube cannot take goes to
        those that are furthest below their share, ties to the earlier one.

    Source: VidCom2 (arXiv 2505.14454), by its released code: ratio times (1 + probability - mean probability); the
        exact sum, which the code leaves to rounding: ours.
    """
    share = torch.softmax((uniqueness.double() - uniqueness.max()) / temperature, dim=0)
    ratio = wanted / int(sizes.sum())
    quota = ratio * (1 + share - share.mean()) * sizes
    least = min(1, wanted // len(sizes))
    counts = torch.minimum(quota.floor().long().clamp(min=least), sizes)
    while (over := int(counts.sum()) - wanted) != 0:
        step = -1 if over > 0 else 1
        movable = counts > least if over > 0 else counts < sizes
        need = ((quota - counts) * step).masked_fill(~movable, -torch.inf)
        counts[need.argsort(descending=True, stable=True)[: min(abs(over), int(movable.sum()))]] += step
    return counts


def prune(tokens: VideoTokens, config: PruningConfig, counts: Sequence[int]) -> VideoTokens:
    """Keep the most telling tokens of each video.

    Args:
        tokens: of all videos of a call.
        config: settings.
        counts: tokens to leave in each video, from 1 to what it has.

    Returns:
        Exactly that many tokens, unchanged and in order; cells of dropped ones are shown by none. Each video as if it
        were alone.

    Raises:
        BudgetError: not one count per video, or one that is below 1 or above what the video has.

    Source: VidCom2 (arXiv 2505.14454).
    """
    present = tokens.counts
    if len(counts) != len(present) or not all(
        1 <= want <= now for want, now in zip(counts, present, strict=True)
    ):
        raise BudgetError(f"Videos of {present} tokens cannot be pruned to {list(counts)}; ask for 1 to all.")
    keep = [
        _kept(features, tube, config, want)
        for features, tube, want in zip(
            tokens.features.detach().split(present), tokens.tyx[:, 0].split(present), counts, strict=True
        )
    ]
    segment = torch.arange(tokens.num_tokens).masked_fill(~torch.cat(keep), -1)
    return tokens.merged(segment)


def _kept(features: Tensor, tube: Tensor, config: PruningConfig, wanted: int) -> Tensor:
    """Which tokens of one video stay, bool [n]."""
    if wanted == len(features):
        return torch.ones(len(features), dtype=torch.bool)
    _, tube, sizes = torch.unique(tube, return_inverse=True, return_counts=True)
    like_video, like_tube = likeness(features, tube, channel_share=config.channel_share)
    like = torch.zeros(len(sizes)).index_add_(0, tube, like_video) / sizes
    counts = tube_counts(-like, sizes, wanted, temperature=config.uniqueness_temperature)
    # by tube, the least alike first, ties to the earlier cell
    order = (like_video + like_tube).argsort(stable=True)
    order = order[tube[order].argsort(stable=True)]
    rank = torch.arange(len(order)) - (sizes.cumsum(0) - sizes)[tube[order]]
    keep = torch.zeros(len(order), dtype=torch.bool)
    keep[order] = rank < counts[tube[order]]
    return keep
