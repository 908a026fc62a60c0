"""Keyword arguments of a call and what it returns: spelled by name, told apart, and brought to other columns."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from transformers.cache_utils import Cache
from transformers.utils import ModelOutput

from framegate.errors import AttachmentError
from framegate.models.attachment.gating import OWN_KEYS
from framegate.models.attachment.serving import Attached
from framegate.models.prompt import PromptMap, cache_of, carry_map
from framegate.models.transformers_private import MEDIA_KEY

VIDEO_KEY = "pixel_values_videos"


def named_forward(module: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Spell a forward call with names alone, as its class declares them."""
    names = list(inspect.signature(type(module).forward).parameters)[1:]
    return dict(zip(names, args, strict=False)) | dict(kwargs)


def holds_video(named: Mapping[str, Any]) -> bool:
    """True when a call brings pixels of a video."""
    return named.get(VIDEO_KEY) is not None


def head_reads_prompt(outer: Any, named: Mapping[str, Any]) -> bool:
    """True when a model's head reads the prompt's labels, or its mask to tell how evenly experts were chosen."""
    routes = named.get("output_router_logits")
    if routes is None:
        routes = getattr(outer.config.get_text_config(), "output_router_logits", False)
    return named.get("labels") is not None or bool(routes)


def without_own_keys(named: Mapping[str, Any]) -> dict[str, Any]:
    """Drop the keys that only framegate reads."""
    return {name: value for name, value in named.items() if name not in OWN_KEYS}


def without_media(attached: Attached, named: Mapping[str, Any]) -> dict[str, Any]:
    """Drop what told of pictures and videos, by the keys of the model's tower, and what only framegate reads."""
    consumed = (*attached.mechanism.consumed, VIDEO_KEY, *OWN_KEYS)
    return {name: value for name, value in named.items() if name not in consumed}


def plain_mask(named: Mapping[str, Any]) -> torch.Tensor:
    """Read the mask of a call's ids, [B, S], ones where there is none; AttachmentError for one of another kind."""
    mask, ids = named.get("attention_mask"), named["input_ids"]
    if mask is None:
        return torch.ones_like(ids)
    if not isinstance(mask, torch.Tensor) or mask.ndim != 2:
        shape = tuple(mask.shape) if isinstance(mask, torch.Tensor) else type(mask).__name__
        raise AttachmentError(
            f"attention_mask is {shape}; on a compressed prompt a front end needs [batch, sequence] of 0 and 1. "
            "keep_ratio=1.0 takes any mask that the stock model takes."
        )
    return mask


def with_plain_mask(named: dict[str, Any]) -> dict[str, Any]:
    """Say that features without a mask and without a cache are of one document a row.

    generate drops a mask of ones; with neither mask nor cache, transformers takes gaps in positions, where tokens
    were left out, for the seams of documents packed into a row.

    Args:
        named: keyword arguments of the inner model.

    Returns:
        The same, with a mask of ones where there was none.
    """
    positions = named.get("position_ids")
    if not named.get(MEDIA_KEY) or cache_of(named) is not None or positions is None:
        return named
    if named.get("attention_mask") is not None:
        return named
    return named | {"attention_mask": torch.ones_like(positions[0] if positions.ndim == 3 else positions)}


def kept_labels(named: Mapping[str, Any], kept: torch.Tensor) -> dict[str, torch.Tensor]:
    """Labels without those of dropped placeholders; shift_labels hold the label of the next column."""
    masks = {"labels": kept, "shift_labels": kept.roll(-1, dims=1)}
    given = {name: named[name] for name in masks if named.get(name) is not None}
    return {name: labels.masked_fill(~masks[name].to(labels.device), -100) for name, labels in given.items()}


def expand_output(output: Any, prompt: PromptMap) -> Any:
    """Bring what the stock model returned to the caller's shape, and mark its cache.

    Args:
        output: ModelOutput, tuple or tensor of the short prompt.
        prompt: the map.

    Returns:
        The same kind, hidden states [B, S, D] and attentions [B, h, S, S] in the caller's columns.
    """
    if isinstance(output, ModelOutput):
        for name in list(output.keys()):
            output[name] = expand_output(output[name], prompt)
    elif isinstance(output, tuple):
        return tuple(expand_output(part, prompt) for part in output)
    elif isinstance(output, Cache):
        carry_map(output, prompt)
    # features of pictures may stand beside the states: they have another length
    elif isinstance(output, torch.Tensor) and output.ndim == 3 and output.shape[1] == prompt.new_length:
        return prompt.expand_states(output)
    elif isinstance(output, torch.Tensor) and output.ndim == 4:
        return prompt.expand_attentions(output)
    return output
