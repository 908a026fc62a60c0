"""Random tokens: what any rule has to beat."""

from __future__ import annotations

import torch
from torch import Tensor

from framegate.models.stages.select import SelectConfig
from framegate.models.stages.select.rules import VideoToChoose

BASELINE = True
SEED = 0


def rank(video: VideoToChoose, wanted: int, settings: SelectConfig) -> tuple[Tensor, Tensor]:
    """Draw tokens without regard to what they show; the same number of tokens is drawn alike every time."""
    scores = torch.rand(len(video.tube), generator=torch.Generator().manual_seed(SEED))
    chosen = scores.argsort(descending=True, stable=True)[:wanted]
    return scores, torch.bincount(video.tube[chosen], minlength=len(video.sizes))
