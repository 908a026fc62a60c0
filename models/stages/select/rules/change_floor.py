"""A floor per tube, the rest by change and, where a question may count, by relevance."""

from __future__ import annotations

import torch
from torch import Tensor

from framegate.models.stages.select import SelectConfig
from framegate.models.stages.select.rules import VideoToChoose, best_of_tubes, equal_counts, likeness

BASELINE = False
# half of the budget goes to all tubes alike, the other half to what changed or is asked for
FLOOR_SHARE = 0.5


def rank(video: VideoToChoose, wanted: int, settings: SelectConfig) -> tuple[Tensor, Tensor]:
    """Give every tube an equal floor, and the rest of the budget to the tokens that score highest in the whole video.

    Source: after SemVID's floor per time slot, with the rest by relevance; its share and the scores are ours.
    """
    like_video, like_tube = likeness(video.features, video.tube)
    scores = _standard(-(like_video + like_tube))
    if video.change is not None:
        # content is new only in the tube that encoded it
        scores = scores + _standard(torch.where(video.age == 0, video.change, 0.0))
    if video.query is not None:
        middle = video.query.float().mean(0)
        alike = torch.cosine_similarity(video.features.float(), middle[None].to(video.features.device), dim=1)
        scores = scores + _standard(alike.cpu())
    floor = equal_counts(video.sizes, int(wanted * FLOOR_SHARE))
    sure = best_of_tubes(scores, video.tube, floor)
    rest = scores.masked_fill(sure, -torch.inf).argsort(descending=True, stable=True)[
        : wanted - int(sure.sum())
    ]
    return scores, floor + torch.bincount(video.tube[rest], minlength=len(floor))


def _standard(values: Tensor) -> Tensor:
    """Mean 0 and spread 1, so that scores of several kinds add up."""
    return (values - values.mean()) / values.std(unbiased=False).clamp(min=1e-9)
