"""Positions of the full prompt, before any token is dropped."""

from __future__ import annotations

import inspect
from typing import Any

import torch


def token_types(config: Any, input_ids: torch.Tensor) -> torch.Tensor:
    """Mark text 0, image 1 and video 2, as processors do in mm_token_type_ids."""
    image = (input_ids == config.image_token_id).int()
    return image + 2 * (input_ids == config.video_token_id).int()


def full_positions(inner: Any, call: dict[str, Any], attention_mask: torch.Tensor) -> torch.Tensor:
    """Compute the vision axes' positions of the caller's own prompt.

    Args:
        inner: the model without its language-model head.
        call: the call's keyword arguments, the caller's ids among them.
        attention_mask: [B, S].

    Returns:
        int64 [3, B, S]: the caller's position_ids where given, else those of the stock model.

    Source: transformers' get_rope_index, which must see the full prompt (it takes one grid per run of placeholders).
    """
    given = call.get("position_ids")
    input_ids = call["input_ids"]
    if given is not None:
        return (given if given.ndim == 3 else given[None].expand(3, -1, -1))[-3:]
    types = call.get("mm_token_type_ids")
    names = inspect.signature(inner.get_rope_index).parameters
    passed = {
        name: call[name] for name in names if name not in ("kwargs", "self") and call.get(name) is not None
    }
    passed |= {
        "mm_token_type_ids": token_types(inner.config, input_ids) if types is None else types,
        "attention_mask": attention_mask,
    }
    positions: torch.Tensor = inner.get_rope_index(**passed)[0]
    return positions
