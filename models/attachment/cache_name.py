"""The cache of a call or an output: `cache` from transformers 5.24 on, `past_key_values` before, and by habit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CACHE_NAMES = ("cache", "past_key_values")


def cache_of(values: Mapping[str, Any]) -> Any:
    """Return the cache among keyword arguments or in a ModelOutput, None when there is none."""
    # keys(): asking a ModelOutput for an old name makes transformers warn
    given = values.keys()
    return next((values[name] for name in CACHE_NAMES if name in given and values[name] is not None), None)
