"""Placeholders of videos whose frames were not handed over whole, so that the stock processor cannot count them."""

from __future__ import annotations

from typing import Any

from framegate.models.grid_tower.geometry import SHAPE_KEY
from framegate.models.video_processor.hook import MethodHook

PLACEHOLDER_METHOD = "replace_video_token"
# LLaVA-OneVision's image_newline, after the last frame.
_NEWLINES = 1


class PlaceholderHook(MethodHook):
    """Before `replace_video_token`: where the video's cells are said, they are counted, not its frames."""

    def __call__(self, video_inputs: Any, video_idx: int, **kwargs: Any) -> str:
        """Write the placeholders of one video, as many as the stock processor writes for whole frames."""
        if SHAPE_KEY not in video_inputs:
            text: str = self.stock(PLACEHOLDER_METHOD)(video_inputs, video_idx=video_idx, **kwargs)
            return text
        tubes, rows, columns = (int(side) for side in video_inputs[SHAPE_KEY][video_idx])
        token: str = self.processor.video_token
        return token * (tubes * rows * columns + _NEWLINES)
