"""Prompts without the placeholders of skipped cells: ids, masks, positions, labels, and the way back."""

from framegate.models.prompt.positions import full_positions, token_types
from framegate.models.prompt.prompt_map import PromptMap, carried_map, carry_map

__all__ = ["PromptMap", "carried_map", "carry_map", "full_positions", "token_types"]
