"""Equal shares: every tube the same number of tokens, those most unlike their tube and the video."""

from __future__ import annotations

from torch import Tensor

from framegate.models.stages.select import SelectConfig
from framegate.models.stages.select.rules import VideoToChoose, equal_counts, likeness

BASELINE = False


def rank(video: VideoToChoose, wanted: int, settings: SelectConfig) -> tuple[Tensor, Tensor]:
    """Rank tokens by VidCom2's score inside each tube; share the budget out evenly.

    Source: ours; the score is that of VidCom2 (arXiv 2505.14454), whose shares per tube this replaces.
    """
    like_video, like_tube = likeness(video.features, video.tube)
    return -(like_video + like_tube), equal_counts(video.sizes, wanted)
