"""What a cache remembers of the prompt it holds, and how its rows are told after they were moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from framegate.errors import AttachmentError
from framegate.models.prompt.prompt_map import PromptMap
from framegate.models.transformers_private import cached_rows, keys_at

_CARRIED = "_framegate_prompt"
CACHE_NAMES = ("cache", "past_key_values")


@dataclass(frozen=True, kw_only=True)
class CachedPrompt:
    """A prompt that a cache holds.

    Args:
        prompt: its map.
        is_short: tokens were left out, or placed as only framegate does; False for one that the stock model read as it
            came, whose map tells of positions alone.
        marks: [rows, heads * width], the keys of its last place: they tell rows apart after the cache's methods moved
            them. None where the cache does not show them.
    """

    prompt: PromptMap
    is_short: bool
    marks: Tensor | None


def cache_of(values: Mapping[str, Any]) -> Any:
    """Find the cache of a call.

    Args:
        values: keyword arguments, or a ModelOutput.

    Returns:
        The cache, None when there is none.
    """
    # keys(): asking a ModelOutput for an old name makes transformers warn
    given = values.keys()
    found = next((values[name] for name in CACHE_NAMES if name in given and values[name] is not None), None)
    # that of continuous batching is pages of many prompts, and counts no columns
    return found if hasattr(found, "get_seq_length") else None


def is_filled(cache: Any) -> bool:
    """Tell whether a cache holds anything.

    Args:
        cache: a cache of transformers, or None.

    Returns:
        True when it does.
    """
    return cache is not None and cache.get_seq_length() > 0


def carry_map(cache: Any, prompt: PromptMap, *, is_short: bool = True) -> None:
    """Remember on a cache which prompt it holds; the cache is the caller's to copy and pass on.

    Args:
        cache: a filled cache of transformers; its rows are the prompt's, or each of them repeated.
        prompt: the map.
        is_short: as `CachedPrompt`.
    """
    prompt = prompt.repeat(cached_rows(cache) // len(prompt.mask))
    marks = keys_at(cache, prompt.length - 1)
    setattr(cache, _CARRIED, CachedPrompt(prompt=prompt, is_short=is_short, marks=marks))


def carried_map(cache: Any) -> CachedPrompt | None:
    """Read which prompt a cache holds, row by row as they stand now.

    Args:
        cache: a cache of transformers.

    Returns:
        The prompt; None for any other cache, and for one that was reset.

    Raises:
        AttachmentError: the cache was cropped into the prompt, or its rows cannot be told any more.
    """
    carried: CachedPrompt | None = getattr(cache, _CARRIED, None)
    if carried is None:
        return None
    if not is_filled(cache):
        delattr(cache, _CARRIED)  # the cache was reset
        return None
    if cache.get_seq_length() < carried.prompt.length:
        if not carried.is_short:
            return None
        raise AttachmentError(
            f"past_key_values holds {cache.get_seq_length()} positions, fewer than the {carried.prompt.length} of the "
            "compressed prompt: a cache cropped into a video cannot be continued. Run the prompt again."
        )
    try:
        moved = _moved_rows(cache, carried)
    except AttachmentError:
        if carried.is_short:
            raise
        return None  # the stock model reads on as it does without framegate
    if moved is not None:
        carry_map(cache, carried.prompt.rows(moved), is_short=carried.is_short)
        carried = getattr(cache, _CARRIED)
    return carried


def _moved_rows(cache: Any, carried: CachedPrompt) -> Tensor | None:
    """Which row of the prompt stands in each row of the cache, int64 [rows]; None where all stand as they stood."""
    known, marks = len(carried.prompt.mask), keys_at(cache, carried.prompt.length - 1)
    if known == 1:
        rows = cached_rows(cache)
        return None if rows == 1 else torch.zeros(rows, dtype=torch.long)
    if marks is None or carried.marks is None:
        raise AttachmentError(
            f"past_key_values is a {type(cache).__name__} that does not show its keys: after a compressed prompt of "
            f"{known} rows nothing tells whether its rows were moved. Continue one conversation at a time, or use a "
            "DynamicCache or StaticCache."
        )
    old = carried.marks.to(marks.device)
    if len(marks) == known and torch.equal(marks, old):
        return None
    same = (marks[:, None] == old[None]).all(-1)  # [rows, known]
    if not bool(same.any(1).all()):
        row = int((~same.any(1)).nonzero()[0])
        raise AttachmentError(
            f"Row {row} of past_key_values is none of the {known} rows of the compressed prompt that it held: its keys "
            "were changed. Run the prompt again."
        )
    return same.int().argmax(1)


@dataclass(frozen=True, kw_only=True)
class NewColumns:
    """What a call adds to what a cache holds.

    Args:
        call: the call's keyword arguments, what lies along the sequence cut to its new columns.
        past: the map of what the cache holds; None for an empty one.
        is_whole: the caller's ids begin with what is cached.
    """

    call: dict[str, Any]
    past: PromptMap | None
    is_whole: bool


_ALONG = ("input_ids", "attention_mask", "mm_token_type_ids", "position_ids", "labels", "shift_labels")


def new_columns(call: Mapping[str, Any], carried: CachedPrompt | None, *, may_be_whole: bool) -> NewColumns:
    """Part the new columns of a call from those in its cache.

    Args:
        call: keyword arguments with input_ids [B, n] and maybe a cache.
        carried: what the cache remembers.
        may_be_whole: ids may be the whole conversation, as in `generate`; else they are the new ones.

    Returns:
        The call of its new columns alone.

    Raises:
        AttachmentError: no token after those in the cache, or a mask of a width that fits neither.
    """
    cache, ids = cache_of(call), call["input_ids"]
    mask: Any = call.get("attention_mask")
    if not is_filled(cache):
        return NewColumns(call=dict(call), past=None, is_whole=False)
    prompt, held = None if carried is None else carried.prompt, int(cache.get_seq_length())
    later = held if prompt is None else held - prompt.length
    columns = later if prompt is None else prompt.caller_length + later
    width = mask.shape[1] if isinstance(mask, Tensor) and mask.ndim == 2 else None
    is_whole = may_be_whole and width != columns + ids.shape[1] and (prompt is None or prompt.opens(ids))
    count = ids.shape[1] - (columns if is_whole else 0)
    if count < 1:
        raise AttachmentError(
            f"input_ids hold no token after the {columns} in past_key_values; add at least one. Pictures and videos go "
            "after what is cached: leave out the pixels that the cache has seen."
        )
    if width not in (None, count, columns + count, held + count):
        raise AttachmentError(
            f"attention_mask is {width} wide; past_key_values hold {columns} columns and {count} follow them, so it "
            f"must be {columns + count} wide."
        )
    seen = mask[:, :-count] if width == columns + count else ids.new_ones(len(ids), columns)
    past = _past(prompt, later, seen, counts_padding=not may_be_whole)
    new = {
        name: value[..., -count:]
        if name in _ALONG and isinstance(value, Tensor) and value.ndim < 4
        else value
        for name, value in call.items()
    }
    return NewColumns(call=new, past=past, is_whole=is_whole)


def _past(prompt: PromptMap | None, later: int, mask: Tensor, *, counts_padding: bool) -> PromptMap | None:
    """The map of a cache: its prompt, and `later` columns that nothing was noted of; the caller's mask of both.

    Where it holds text alone, the stock model's forward placed padding too, and its `generate` did not.
    """
    if not later:
        return prompt
    mask = mask[:, -later:].long()
    padding = later - mask.sum(1, keepdim=True)
    unseen = PromptMap.unseen(mask, padding * int(counts_padding and prompt is None))
    return unseen if prompt is None else prompt.followed_by(unseen)
