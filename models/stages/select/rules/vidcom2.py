"""VidCom2: the budget shared out over tubes by their uniqueness, and in each tube the tokens unlike the rest."""

from __future__ import annotations

import torch
from torch import Tensor

from framegate.models.stages.select import SelectConfig
from framegate.models.stages.select.rules import VideoToChoose, likeness

BASELINE = True
# of the softmax over tubes, the released code's: the smaller, the more goes to the tube that is least like the video
TEMPERATURE = 0.01


def rank(video: VideoToChoose, wanted: int, settings: SelectConfig) -> tuple[Tensor, Tensor]:
    """Rank tokens by how little they look like their tube and the video; share the budget out by tubes' uniqueness.

    Source: VidCom2 (arXiv 2505.14454), by its released code.
    """
    like_video, like_tube = likeness(video.features, video.tube)
    like = torch.zeros(len(video.sizes)).index_add_(0, video.tube, like_video) / video.sizes
    return -(like_video + like_tube), tube_counts(-like, video.sizes, wanted)


def tube_counts(
    uniqueness: Tensor, sizes: Tensor, wanted: int, *, temperature: float = TEMPERATURE
) -> Tensor:
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
