"""Which columns of a prompt stay when tokens of its videos are left out."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

from framegate.models.extra_placeholders import ExtraPlaceholders
from framegate.models.prompt.interleaved import stamp_columns
from framegate.models.video_tokens import VideoTokens


class KeptColumns(NamedTuple):
    """The columns of a prompt that stay.

    Args:
        keep: bool [B, S].
        num_stamped: columns of stamps among them.
    """

    keep: torch.Tensor
    num_stamped: int


def kept_columns(
    config: Any,
    call: dict[str, Any],
    placeholders: torch.Tensor,
    tokens: VideoTokens,
    *,
    extra: ExtraPlaceholders,
    stamped: bool = False,
) -> KeptColumns:
    """Find the columns that stay: all but placeholders without a token, and the stamps of tubes without any.

    Args:
        config: the model's configuration.
        call: keyword arguments with input_ids [B, S].
        placeholders: bool [B, S], the videos' placeholders.
        tokens: what enters the language model.
        extra: placeholders that stand for no cell.
        stamped: stamps stand between the tubes.

    Returns:
        The mask of columns, and how many of them are stamps.
    """
    cells = torch.zeros(tokens.num_cells, dtype=torch.bool)
    cells[tokens.cell] = True
    flat = cells.split([t * h * w for t, h, w in tokens.shapes])
    videos = [video.view(shape) for video, shape in zip(flat, tokens.shapes, strict=True)]
    keep = torch.ones_like(placeholders)
    keep[placeholders] = torch.cat([extra.columns(video) for video in videos]).to(keep.device)
    if not stamped:
        return KeptColumns(keep, 0)
    counts = [extra.per_tube(shape) for shape in tokens.shapes]
    empty = torch.cat([~video.flatten(1).any(1) for video in videos])
    types = 2 * placeholders.int() + (call["input_ids"] == config.image_token_id).int()
    stamp = stamp_columns(
        call["input_ids"], types, counts, vision_end_id=getattr(config, "vision_end_token_id", None)
    )
    keep &= ~(empty.to(stamp.device)[stamp.clamp(min=0)] & (stamp >= 0))
    return KeptColumns(keep, int((keep & (stamp >= 0)).sum()))
