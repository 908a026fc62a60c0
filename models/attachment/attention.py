"""The tower's attention where it is framegate's, set on the tower's own copy of the configuration."""

from __future__ import annotations

from typing import Any

from framegate.config import FrontEndConfig
from framegate.kernels.dispatch import kernels_run
from framegate.models.family import Family
from framegate.models.towers.packed_anchored import framegate_attention
from framegate.models.transformers_private import OWN_ATTENTION, attention_of, with_attention


def wants_own_attention(tower: Any, family: Family, config: FrontEndConfig) -> bool:
    """Tell whether framegate's attention is set on a tower.

    For context "anchored", which transformers' own cannot do; and where kernels run, in place of the loop over segments
    that transformers makes around SDPA.

    Args:
        tower: the vision tower, where it will run.
        family: its row of the family table.
        config: the front end's configuration.

    Returns:
        True for framegate's; calls that are not framegate's are then attended as before, to the bit.
    """
    if config.is_identity:
        return False
    if config.context == "anchored" and config.gates:
        return attention_of(tower.config) == "sdpa" and "anchored" in family.contexts
    loops = family.tower == "packed" and attention_of(tower.config) == "sdpa"
    return loops and kernels_run(config.backend, tower.device)


def why_not_anchored(tower: Any, family: Family) -> str | None:
    """Say why context "anchored" stands aside.

    Args:
        tower: the vision tower.
        family: its family.

    Returns:
        A reason for the report; None where framegate's attention is set.
    """
    if "anchored" not in family.contexts:
        return f"the tower of {family.model_class} hands its attention no keys but its own"
    attention = attention_of(tower.config)
    if attention == OWN_ATTENTION:
        return None
    return f"the tower attends by {attention!r}, not by SDPA as it was when the front end was attached"


class TowerAttention:
    """Swaps the attention function of one tower, and back.

    Models built from one configuration object share it: the tower gets a copy of its own, so that no other model
    sees the change.

    Args:
        tower: the vision tower.
    """

    def __init__(self, tower: Any) -> None:
        from transformers import AttentionInterface

        AttentionInterface.register(OWN_ATTENTION, framegate_attention)
        self.tower = tower
        self.stock = tower.config
        self.own = with_attention(tower.config, OWN_ATTENTION)
        self._set(self.stock, self.own)

    def restore(self) -> None:
        """Give the tower its shared configuration back; an attention chosen since is written there by transformers."""
        self._set(self.own, self.stock)

    def _set(self, old: Any, new: Any) -> None:
        for module in self.tower.modules():
            if getattr(module, "config", None) is old:
                module.config = new
