"""Placeholders of a video that stand for none of its cells, and which of them stay."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from framegate.models.video_tokens import Shape


class ExtraPlaceholders(NamedTuple):
    """Placeholders of a video beside those of its cells.

    Args:
        before_tube: before the cells of every tube, as class tokens are; they stay where their tube has a token.
        after_video: behind the last tube, as a newline is; they always stay.
    """

    before_tube: int = 0
    after_video: int = 0

    def count(self, shape: Shape) -> int:
        """All placeholders of a video of so many tubes, rows and columns of cells."""
        return sum(self.per_tube(shape))

    def per_tube(self, shape: Shape) -> list[int]:
        """Placeholders of each tube; those after the video count with its last."""
        tubes, rows, columns = shape
        each = self.before_tube + rows * columns
        return [each] * (tubes - 1) + [each + self.after_video]

    def columns(self, cells: Tensor) -> Tensor:
        """Which placeholders of a video stay, by the cells that have a token: bool [T, H, W] -> bool [count]."""
        tubes = cells.flatten(1)  # [T, H*W]
        before = tubes.any(1, keepdim=True).expand(-1, self.before_tube)
        return torch.cat([torch.cat([before, tubes], 1).flatten(), tubes.new_ones(self.after_video)])
