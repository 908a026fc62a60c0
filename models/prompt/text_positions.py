"""Positions of families whose language model counts tokens on one axis."""

from __future__ import annotations

from typing import Any

import torch

from framegate.errors import AttachmentError
from framegate.models.prompt.positions import refuse_packed


def text_positions(call: dict[str, Any], attention_mask: torch.Tensor, *, gapless: bool) -> torch.Tensor:
    """Place the tokens of the caller's own prompt on one axis.

    Args:
        call: the call's keyword arguments, the caller's ids among them.
        attention_mask: [B, S].
        gapless: leave no gap where a token is dropped.

    Returns:
        int64 [1, B, S]: the caller's position_ids where given, else each token's number in its row. Gapless, int64
        [0, B, S]: no axis of the full prompt, so that the short one is counted.

    Raises:
        AttachmentError: position_ids of several axes, or that pack several documents into a row.

    Source: transformers' generate; a stock forward counts padding too, which rotary positions do not notice.
    """
    given = call.get("position_ids")
    if given is None:
        counted = (attention_mask.long().cumsum(1) - 1).clamp(min=0)[None]
        return counted[:0] if gapless else counted
    if given.ndim != 2:
        raise AttachmentError(
            f"position_ids is {tuple(given.shape)}; this model's are [batch, sequence], on one axis."
        )
    refuse_packed(given, call.get("attention_mask"))
    axis = given.expand(len(call["input_ids"]), -1)[None]
    return axis[:0] if gapless else axis
