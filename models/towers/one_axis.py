"""Packed towers before a language model that places its tokens on one axis."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from framegate.models.prompt.positions import text_positions
from framegate.models.towers.packed import PackedTower


class OneAxisTower(PackedTower):
    """A packed tower, of one model whose tokens are counted."""

    def positions(self, call: dict[str, Any], attention_mask: Tensor) -> Tensor:
        """Positions of the caller's prompt on one axis, int64 [1, B, S]; [0, B, S] where the short one is counted."""
        return text_positions(self.inner, call, attention_mask)
