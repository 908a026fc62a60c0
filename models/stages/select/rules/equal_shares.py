"""Equal shares: every tube the same number of tokens, those most unlike their tube and the video."""

from __future__ import annotations

import torch
from torch import Tensor

from framegate.models.stages.select.config import SelectConfig
from framegate.models.stages.select.likeness import likeness
from framegate.models.stages.select.stage import VideoToChoose

BASELINE = False


def rank(video: VideoToChoose, wanted: int, settings: SelectConfig) -> tuple[Tensor, Tensor]:
    """Rank tokens by VidCom2's score inside each tube; share the budget out evenly.

    Args:
        video: what may be chosen.
        wanted: tokens in all, from 1 to n - 1.
        settings: not read.

    Returns:
        Score of each token, float [n], the higher the more telling; tokens of each tube, int64 [T], sums to wanted.

    Source: ours; the score is that of VidCom2 (arXiv 2505.14454), whose shares per tube this replaces.
    """
    like_video, like_tube = likeness(video.features, video.tube)
    return -(like_video + like_tube), equal_counts(video.sizes, wanted)


def equal_counts(sizes: Tensor, wanted: int) -> Tensor:
    """Share tokens out over tubes as evenly as their sizes allow.

    Args:
        sizes: tokens that each tube has, int64 [T].
        wanted: tokens in all, at most their sum.

    Returns:
        int64 [T], sums to wanted. Full tubes give what they cannot take to the others; what does not divide is spread
        evenly over time.
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
