"""Prompts without the placeholders of skipped cells: ids, masks, positions, labels, and the way back."""

from framegate.models.prompt.cached import (
    CachedPrompt,
    cache_of,
    carried_map,
    carry_map,
    is_filled,
    new_columns,
)
from framegate.models.prompt.columns import kept_columns
from framegate.models.prompt.interleaved import interleaved_positions, is_interleaved, stamp_columns
from framegate.models.prompt.positions import full_positions, has_stamps, token_types
from framegate.models.prompt.prompt_map import PromptMap

__all__ = [
    "CachedPrompt",
    "PromptMap",
    "cache_of",
    "carried_map",
    "carry_map",
    "full_positions",
    "has_stamps",
    "interleaved_positions",
    "is_filled",
    "is_interleaved",
    "kept_columns",
    "new_columns",
    "stamp_columns",
    "token_types",
]
