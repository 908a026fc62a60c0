"""Random tokens: what any rule has to beat."""

from __future__ import annotations

import torch
from torch import Tensor

from framegate.models.stages.select.config import SelectConfig
from framegate.models.stages.select.stage import VideoToChoose

BASELINE = True
SEED = 0


def rank(video: VideoToChoose, wanted: int, settings: SelectConfig) -> tuple[Tensor, Tensor]:
    """Draw tokens without regard to what they show.

    Args:
        video: what may be chosen.
        wanted: tokens in all, from 1 to n - 1.
        settings: not read; the same number of tokens is drawn alike every time.

    Returns:
        Score of each token, float [n]; tokens of each tube, int64 [T], sums to wanted.
    """
    scores = torch.rand(len(video.tube), generator=torch.Generator().manual_seed(SEED))
    chosen = scores.argsort(descending=True, stable=True)[:wanted]
    return scores, torch.bincount(video.tube[chosen], minlength=len(video.sizes))
