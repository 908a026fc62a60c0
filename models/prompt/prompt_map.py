"""The correspondence between the caller's prompt and the shorter one that the language model reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch

from framegate.errors import AttachmentError
from framegate.models.prompt.interleaved import stamp_columns
from framegate.models.video_tokens import VideoTokens

_CARRIED = "_framegate_prompt_map"


@dataclass(frozen=True, kw_only=True)
class PromptMap:
    """Columns of a prompt that were kept; rows of unequal length are padded on the caller's side.

    Args:
        columns: int64 [B, M], the caller's column of each place of the short prompt; 0 where it is padding.
        mask: int64 [B, M], 1 for tokens, 0 for padding.
        fill: int64 [B, S], the place of the short prompt that stands for each of the caller's columns: its own, or
            that of the last token kept before it.
        kept: bool [B, S], columns of the caller that are in the short prompt.
        caller_ids: int64 [B, S], the caller's prompt.
        caller_mask: int64 [B, S], the caller's attention mask.
        positions: position ids of the short prompt as the model takes them: int64 [P, B, M] (text, then vision axes),
            or [B, M] where it has one axis.
        delta: int64 [B, 1], next position minus number of the caller's tokens.
    """

    columns: torch.Tensor
    mask: torch.Tensor
    fill: torch.Tensor
    kept: torch.Tensor
    caller_ids: torch.Tensor
    caller_mask: torch.Tensor
    positions: torch.Tensor
    delta: torch.Tensor

    @classmethod
    def build(
        cls,
        keep: torch.Tensor,
        caller_ids: torch.Tensor,
        caller_mask: torch.Tensor,
        positions: torch.Tensor,
    ) -> PromptMap:
        """Make the map from a mask over the caller's prompt.

        Args:
            keep: bool [B, S], tokens that stay; padding is dropped whatever it says.
            caller_ids: int64 [B, S], the caller's prompt.
            caller_mask: [B, S], the caller's attention mask, 1 for tokens.
            positions: int64 [A, B, S] of the full prompt: three vision axes, beside which the text axis is counted; or
                the model's one axis; or none, then the short prompt is counted on one axis, without gaps.

        Returns:
            The map; every row has at least one token.
        """
        kept = keep & caller_mask.bool()
        lengths = kept.sum(1)
        width, left = int(lengths.max()), _pads_left(caller_mask)
        place = torch.arange(width, device=keep.device)
        mask = place >= (width - lengths)[:, None] if left else place < lengths[:, None]
        columns = torch.zeros(mask.shape, dtype=torch.long, device=keep.device)
        columns[mask] = kept.nonzero()[:, 1]
        rank = kept.long().cumsum(1) - 1
        fill = (rank + (width - lengths)[:, None] if left else rank).clamp(min=0)
        axes = positions.gather(2, columns.expand(len(positions), -1, -1)) * mask
        text = (mask.long().cumsum(1) - 1).clamp(min=0)
        # padding columns keep position 0 in stock transformers, so the maximum is over real tokens
        real = positions.masked_fill(~caller_mask.bool(), 0)
        highest = real.amax((0, 2)) if len(positions) else lengths - 1
        return cls(
            columns=columns,
            mask=mask.long(),
            fill=fill,
            kept=kept,
            caller_ids=caller_ids,
            caller_mask=caller_mask.long(),
            positions=_as_taken(text, axes),
            delta=(highest + 1 - caller_mask.long().sum(1))[:, None],
        )

    @property
    def caller_length(self) -> int:
        """S, columns of the caller's prompt."""
        return self.kept.shape[1]

    @property
    def length(self) -> int:
        """M, columns of the short prompt."""
        return self.columns.shape[1]

    def repeat(self, times: int) -> PromptMap:
        """Repeat every row, as generate does for beams and several sequences."""
        if times == 1:
            return self
        rows = ("columns", "mask", "fill", "kept", "caller_ids", "caller_mask", "delta")
        changed = {name: getattr(self, name).repeat_interleave(times, dim=0) for name in rows}
        return replace(self, positions=self.positions.repeat_interleave(times, dim=-2), **changed)

    def opens(self, ids: torch.Tensor) -> bool:
        """True when ids [B, n] begin with the caller's prompt: a whole conversation, not its new tokens alone."""
        if ids.shape[1] < self.caller_length or len(ids) != len(self.caller_ids):
            return False
        same = ids[:, : self.caller_length] == self.caller_ids
        return bool((same | ~self.caller_mask.bool()).all())

    def shorten(self, ids: torch.Tensor, pad_value: int) -> torch.Tensor:
        """Bring a [B, S + n] tensor of the caller to [B, M + n]; what follows the prompt is kept as it is."""
        short = ids[:, : self.caller_length].gather(1, self.columns).masked_fill(self.mask == 0, pad_value)
        return torch.cat([short, ids[:, self.caller_length :]], dim=1)

    def expand_states(self, states: torch.Tensor) -> torch.Tensor:
        """Bring [B, M, D] hidden states to the caller's [B, S, D].

        A dropped column takes the state of the last kept one before it, so that the column before any kept token
        holds the state that predicts this token: losses and log-probabilities taken in the caller's shape are right.
        """
        return states.gather(1, self.fill[..., None].expand(-1, -1, states.shape[-1]))

    def expand_attentions(self, weights: torch.Tensor) -> torch.Tensor:
        """Bring [B, h, M, M] attention weights to [B, h, S, S]; dropped columns are attended with weight 0."""
        batch, heads, length, _ = weights.shape
        rows = weights.gather(2, self.fill[:, None, :, None].expand(batch, heads, -1, length))
        keys = self.fill[:, None, None, :].expand(batch, heads, rows.shape[2], -1)
        return rows.gather(3, keys) * self.kept[:, None, None, :]

    def continued_mask(self, attention_mask: torch.Tensor | None, num_later: int) -> torch.Tensor:
        """Mask [B, M + num_later] of prompt and what follows it.

        Args:
            attention_mask: the caller's [B, S + num_later], or as wide as the cache, [B, M + num_later]; None for no
                padding after the prompt.
            num_later: tokens after the prompt.

        Raises:
            AttachmentError: a mask of another width.
        """
        if attention_mask is None:
            tail = self.mask.new_ones((len(self.mask), num_later))
        elif attention_mask.shape[1] in (self.caller_length + num_later, self.length + num_later):
            tail = attention_mask[:, attention_mask.shape[1] - num_later :].to(self.mask)
        else:
            raise AttachmentError(
                f"attention_mask is {attention_mask.shape[1]} wide; the prompt has {self.caller_length} columns and "
                f"{num_later} tokens follow it, so it must be {self.caller_length + num_later} wide."
            )
        return torch.cat([self.mask, tail], dim=1)

    def continued_positions(self, short_mask: torch.Tensor) -> torch.Tensor:
        """Positions [P, B, M + n], or [B, M + n], of prompt and continuation, from the mask [B, M + n]."""
        tail_mask = short_mask[:, self.length :]
        steps = tail_mask.cumsum(1) - 1
        text = self.mask.sum(1, keepdim=True) + steps
        vision = self.caller_mask.sum(1, keepdim=True) + self.delta + steps
        one_axis = self.positions.ndim == vision.ndim
        tail = vision if one_axis else torch.stack([text, *[vision] * (len(self.positions) - 1)])
        return torch.cat([self.positions, tail.clamp(min=0)], dim=-1)


def _as_taken(text: torch.Tensor, axes: torch.Tensor) -> torch.Tensor:
    """Counted tokens [B, M] and axes [A, B, M] as a model takes them: one axis is no dimension of its own."""
    if len(axes) > 1:
        return torch.cat([text[None], axes]).contiguous()
    return axes[0] if len(axes) else text


def _pads_left(mask: torch.Tensor) -> bool:
    """True unless the caller pads on the right; a prompt without padding is continued on the left side's terms."""
    return not bool((mask[:, -1] == 0).any())


def carry_map(cache: Any, prompt: PromptMap | None) -> None:
    """Remember on a cache which prompt it holds, or forget it; the cache is the caller's to copy and pass on.

    Args:
        cache: a cache of transformers.
        prompt: the map, None to forget.
    """
    if prompt is None:
        vars(cache).pop(_CARRIED, None)
    else:
        setattr(cache, _CARRIED, prompt)


def carried_map(cache: Any) -> PromptMap | None:
    """Read which prompt a cache holds in shortened form.

    Args:
        cache: a cache of transformers.

    Returns:
        The map; None for any other cache, and for one that was reset.

    Raises:
        AttachmentError: the cache was cropped into the prompt.
    """
    prompt: PromptMap | None = getattr(cache, _CARRIED, None)
    if prompt is not None and cache.get_seq_length() == 0:
        carry_map(cache, None)  # the cache was reset
        return None
    if prompt is not None and cache.get_seq_length() < prompt.length:
        raise AttachmentError(
            f"past_key_values holds {cache.get_seq_length()} positions, fewer than the {prompt.length} of the "
            "compressed prompt: a cache cropped into a video cannot be continued. Run the prompt again."
        )
    return prompt


CACHE_NAMES = ("cache", "past_key_values")


def cache_of(values: Mapping[str, Any]) -> Any:
    """Return the cache among keyword arguments or in a ModelOutput, None when there is none."""
    # keys(): asking a ModelOutput for an old name makes transformers warn
    given = values.keys()
    return next((values[name] for name in CACHE_NAMES if name in given and values[name] is not None), None)


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
    extra: int = 0,
    stamped: bool = False,
) -> KeptColumns:
    """Find the columns that stay: all but placeholders without a token, and the stamps of tubes without any.

    Args:
        config: the model's configuration.
        call: keyword arguments with input_ids [B, S].
        placeholders: bool [B, S], the videos' placeholders.
        tokens: what enters the language model.
        extra: placeholders per video, after its cells, that stand for no cell and stay.
        stamped: stamps stand between the tubes.

    Returns:
        The mask of columns, and how many of them are stamps.
    """
    cells = torch.zeros(tokens.num_cells, dtype=torch.bool)
    cells[tokens.cell] = True
    videos = cells.split([t * h * w for t, h, w in tokens.shapes])
    always = torch.ones(extra, dtype=torch.bool)
    keep = torch.ones_like(placeholders)
    keep[placeholders] = torch.cat([part for video in videos for part in (video, always)]).to(keep.device)
    if not stamped:
        return KeptColumns(keep, 0)
    tubes = [video.reshape(shape).flatten(1) for video, shape in zip(videos, tokens.shapes, strict=True)]
    counts = [[tube.shape[1]] * (len(tube) - 1) + [tube.shape[1] + extra] for tube in tubes]
    empty = torch.cat([~tube.any(1) for tube in tubes])
    types = 2 * placeholders.int() + (call["input_ids"] == config.image_token_id).int()
    stamp = stamp_columns(
        call["input_ids"], types, counts, vision_end_id=getattr(config, "vision_end_token_id", None)
    )
    keep &= ~(empty.to(stamp.device)[stamp.clamp(min=0)] & (stamp >= 0))
    return KeptColumns(keep, int((keep & (stamp >= 0)).sum()))
