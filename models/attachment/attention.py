"""The tower's attention for `context: anchored`, set on its own copy of the configuration."""

from __future__ import annotations

import copy
from typing import Any

from framegate.models.packed_tower import ATTENTION_NAME, framegate_attention


class TowerAttention:
    """Swaps the attention function of one tower, and back.

    Models built from one configuration object share it: the tower gets a copy of its own, so that no other model
    sees the change.

    Args:
        tower: the vision tower.
    """

    def __init__(self, tower: Any) -> None:
        from transformers import AttentionInterface

        AttentionInterface.register(ATTENTION_NAME, framegate_attention)
        self.tower = tower
        self.stock = tower.config
        self.own = copy.deepcopy(tower.config)
        self.own._attn_implementation = ATTENTION_NAME
        self._set(self.stock, self.own)

    def restore(self) -> None:
        """Give the tower its shared configuration back."""
        self._set(self.own, self.stock)

    def _set(self, old: Any, new: Any) -> None:
        for module in self.tower.modules():
            if getattr(module, "config", None) is old:
                module.config = new
