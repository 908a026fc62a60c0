"""Positions of the full prompt, before any token is dropped."""

from __future__ import annotations

from typing import Any

import torch

from framegate.errors import AttachmentError
from framegate.models.prompt.interleaved import interleaved_positions, is_interleaved
from framegate.models.transformers_private import packs_documents, rope_index


def token_types(config: Any, input_ids: torch.Tensor) -> torch.Tensor:
    """Tell the kinds of tokens apart, as processors do in mm_token_type_ids.

    Args:
        config: the model's configuration, with the placeholders' ids.
        input_ids: int64 [B, S].

    Returns:
        int32 [B, S]: text 0, image 1, video 2.

    Source: transformers' processors.
    """
    image = (input_ids == config.image_token_id).int()
    return image + 2 * (input_ids == config.video_token_id).int()


def full_positions(
    inner: Any,
    call: dict[str, Any],
    attention_mask: torch.Tensor,
    *,
    types: torch.Tensor | None = None,
    stamped: bool | None = None,
) -> torch.Tensor:
    """Compute the vision axes' positions of the caller's own prompt.

    Args:
        inner: the model without its language-model head.
        call: the call's keyword arguments, the caller's ids among them.
        attention_mask: [B, S].
        types: int [B, S], text 0, image 1, video 2; None for what the call or its ids say.
        stamped: stamps interrupt a video of the call; None to look.

    Returns:
        int64 [3, B, S]: the caller's position_ids where given, else those of the stock model, and where stamps
            interrupt a video those of DATE.

    Raises:
        AttachmentError: position_ids that pack several documents into a row.
        PlaceholderError: stamps interrupt a video, and its placeholders do not fit its grid.

    Source: transformers' get_rope_index, which must see the full prompt (it takes one grid per run of placeholders);
    DATE (arXiv 2509.09263), TIM.
    """
    given = call.get("position_ids")
    input_ids = call["input_ids"]
    if given is not None:
        refuse_packed(given, call.get("attention_mask"))
        axes = given if given.ndim == 3 else given[None].expand(3, -1, -1)
        return axes[-3:].expand(-1, len(input_ids), -1)
    types = call.get("mm_token_type_ids") if types is None else types
    types = token_types(inner.config, input_ids) if types is None else types
    if has_stamps(inner.config, call, types) if stamped is None else stamped:
        return _stamped_positions(inner, call, types, attention_mask)
    return rope_index(inner, call | {"mm_token_type_ids": types, "attention_mask": attention_mask})


def has_stamps(config: Any, call: dict[str, Any], types: torch.Tensor) -> bool:
    """Tell whether stamps interrupt a video of the call, so that stock get_rope_index would run out of grids.

    Args:
        config: the model's configuration.
        call: the call's keyword arguments, the caller's ids among them.
        types: int [B, S], text 0, image 1, video 2.

    Returns:
        False without videos, and where the family writes its own time markers.
    """
    grids = call.get("video_grid_thw")
    return grids is not None and is_interleaved(
        call["input_ids"],
        types,
        num_videos=len(grids),
        vision_start_id=getattr(config, "vision_start_token_id", None),
    )


def _stamped_positions(
    inner: Any, call: dict[str, Any], types: torch.Tensor, attention_mask: torch.Tensor
) -> torch.Tensor:
    vision = inner.config.vision_config
    return interleaved_positions(
        call["input_ids"],
        types,
        attention_mask,
        call.get("image_grid_thw"),
        call["video_grid_thw"],
        spatial_merge_size=vision.spatial_merge_size,
        tube_steps=_tube_steps(
            getattr(vision, "tokens_per_second", None),
            call.get("second_per_grid_ts"),
            len(call["video_grid_thw"]),
        ),
    )


def _tube_steps(tokens_per_second: int | None, seconds: Any, num_videos: int) -> list[float] | None:
    """What stock Qwen2.5-VL advances time by from tube to tube; None for families that count tubes."""
    if tokens_per_second is None:
        return None
    return [float(tokens_per_second * each) for each in ([1] * num_videos if seconds is None else seconds)]


def refuse_packed(given: torch.Tensor, attention_mask: torch.Tensor | None) -> None:
    """Stock transformers reads a text axis that starts over, without a mask, as documents packed into one row."""
    text = given if given.ndim == 2 else given[0] if len(given) == 4 else None
    if attention_mask is None and text is not None and bool((text.diff(dim=-1) < 0).any()):
        raise AttachmentError(
            "position_ids start over within a row, as documents packed into one row do; a front end needs one "
            "conversation a row. Pass attention_mask if the row is one."
        )


def text_positions(inner: Any, call: dict[str, Any], attention_mask: torch.Tensor) -> torch.Tensor:
    """Place the tokens of the caller's own prompt on one axis.

    Args:
        inner: the model without its language-model head.
        call: the call's keyword arguments, the caller's ids among them.
        attention_mask: [B, S].

    Returns:
        int64 [1, B, S]: the caller's position_ids where given, else each token's number in its row. Where the language
        model would read a gap as a seam, int64 [0, B, S]: no axis of the full prompt, so that the short one is counted.

    Raises:
        AttachmentError: position_ids of several axes, or that pack several documents into a row.

    Source: transformers' generate; a stock forward counts padding too, which rotary positions do not notice.
    """
    given, gapless = call.get("position_ids"), packs_documents(inner.config.get_text_config())
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
