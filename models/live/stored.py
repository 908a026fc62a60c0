"""What a session hands over to a call of the model, in place of pixels."""

from __future__ import annotations

from dataclasses import dataclass

from framegate.models.video_tokens import VideoTokens

# keyword argument of a call that brings a StoredVideo
STORED_KEY = "framegate_stored"


@dataclass(frozen=True, kw_only=True)
class StoredVideo:
    """One video as a session holds it.

    Args:
        tokens: on the grid of the tubes that are held, in order of time.
        video_seconds: from the first of them to the last.
        seen_tubes: tubes of the stream in that time, held or not.
        encoded_cells: cells that the tower encoded in that time.
    """

    tokens: VideoTokens
    video_seconds: float
    seen_tubes: int
    encoded_cells: int
