"""Positions of families whose language model counts tokens on one axis."""

from __future__ import annotations

from typing import Any

import torch

from framegate.errors import AttachmentError
from framegate.models.prompt.positions import refuse_packed


def text_positions(call: dict[str, Any], attention_mask: torch.Tensor) -> torch.Tensor:
    """Place the tokens of the caller's own prompt on one axis.

    Args:
        call: the call's keyword arguments, the caller's ids among them.
        attention_mask: [B, S].

    Returns:
        int64 [1, B, S]: the caller's position_ids where given, else each token's number in its row.

    Raises:
        AttachmentError: position_ids of several axes, or that pack several documents into a row.

    Source: transformers' generate; a stock forward counts padding too, which rotary positions do not notice.
    """
    given = call.get("position_ids")
    if given is None:
        return (attention_mask.long().cumsum(1) - 1).clamp(min=0)[None]
    if given.ndim != 2:
        raise AttachmentError(
            f"position_ids is {tuple(given.shape)}; this model's are [batch, sequence], on one axis."
        )
    refuse_packed(given, call.get("attention_mask"))
    return given.expand(len(call["input_ids"]), -1)[None]
