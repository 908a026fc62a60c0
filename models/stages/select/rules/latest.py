"""The latest tokens: whole tubes from the end on, as a live session that forgets would hold."""

from __future__ import annotations

import torch
from torch import Tensor

from framegate.models.stages.select import SelectConfig
from framegate.models.stages.select.rules import VideoToChoose, likeness

BASELINE = False


def rank(video: VideoToChoose, wanted: int, settings: SelectConfig) -> tuple[Tensor, Tensor]:
    """Fill tubes from the last one back; of the first that is not whole, the most telling tokens."""
    like_video, like_tube = likeness(video.features, video.tube)
    later = video.sizes.flip(0).cumsum(0).flip(0) - video.sizes  # tokens behind each tube
    return -(like_video + like_tube), torch.minimum((wanted - later).clamp(min=0), video.sizes)
