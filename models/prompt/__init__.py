"""Prompts without the placeholders of skipped cells: ids, masks, positions, labels, and the way back."""

from framegate.models.prompt.interleaved import interleaved_positions, is_interleaved, stamp_columns
from framegate.models.prompt.positions import full_positions, has_stamps, token_types
from framegate.models.prompt.prompt_map import PromptMap, carried_map, carry_map, kept_columns

__all__ = [
    "PromptMap",
    "carried_map",
    "carry_map",
    "full_positions",
    "has_stamps",
    "interleaved_positions",
    "is_interleaved",
    "kept_columns",
    "stamp_columns",
    "token_types",
]
