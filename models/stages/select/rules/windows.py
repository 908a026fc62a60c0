"""Windows of time: what stands still is handed over once a window, what changes every time."""

from __future__ import annotations

import torch
from torch import Tensor

from framegate.models.stages.select import SelectConfig
from framegate.models.stages.select.rules import VideoToChoose, best_of_tubes, equal_counts, likeness

BASELINE = True
WINDOW_TUBES = 8
# far below any likeness: repeats are taken where nothing else is left
_REPEATED = 100.0


def rank(video: VideoToChoose, wanted: int, settings: SelectConfig) -> tuple[Tensor, Tensor]:
    """Share tokens out over windows of eight tubes; in each, repeats of what it has shown already come last.

    Source: after HoliTom's windows (arXiv 2505.21334), in which static cells are averaged and handed over at once; here
        copies of an anchor are equal, so that the first stands for all. Windows of equal length, and the score: ours.
    """
    like_video, like_tube = likeness(video.features, video.tube)
    inside = video.tube % WINDOW_TUBES
    repeated = (inside > 0) & (video.age > 0)
    scores = -(like_video + like_tube) - _REPEATED * repeated
    window = video.tube // WINDOW_TUBES
    counts = equal_counts(torch.bincount(window), wanted)
    chosen = best_of_tubes(scores, window, counts)
    return scores, torch.bincount(video.tube[chosen], minlength=len(video.sizes))
