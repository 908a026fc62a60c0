"""The correspondence between the caller's prompt and the shorter one that the language model reads."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from framegate.errors import AttachmentError

# stands for each id of a cache that was filled before anyone took note
UNKNOWN_ID = -1
_BY_ROW = ("columns", "mask", "fill", "kept", "caller_ids", "caller_mask", "delta", "padding")


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
        padding: bool [B, M], places that stand for no column of the caller.
        cached: the caller's columns that a cache held before the call that this map was made for.
        cached_short: places that it held.
    """

    columns: torch.Tensor
    mask: torch.Tensor
    fill: torch.Tensor
    kept: torch.Tensor
    caller_ids: torch.Tensor
    caller_mask: torch.Tensor
    positions: torch.Tensor
    delta: torch.Tensor
    padding: torch.Tensor
    cached: int = 0
    cached_short: int = 0

    @classmethod
    def build(
        cls,
        keep: torch.Tensor,
        caller_ids: torch.Tensor,
        caller_mask: torch.Tensor,
        positions: torch.Tensor,
        *,
        placeholders: torch.Tensor | None = None,
    ) -> PromptMap:
        """Make the map from a mask over the caller's prompt.

        Args:
            keep: bool [B, S], tokens that stay; of those under mask 0 placeholders alone do.
            caller_ids: int64 [B, S], the caller's prompt.
            caller_mask: [B, S], the caller's attention mask, 1 for tokens.
            positions: int64 [A, B, S] of the full prompt: three vision axes, beside which the text axis is counted; or
                the model's one axis; or none, then the short prompt is counted on one axis, without gaps.
            placeholders: bool [B, S], those of pictures and videos, whose features the model puts in by number, hidden
                by the mask or not; None for none.

        Returns:
            The map; every row has at least one token.
        """
        kept = keep & (caller_mask.bool() if placeholders is None else caller_mask.bool() | placeholders)
        lengths = kept.sum(1)
        width, left = int(lengths.max()), _pads_left(caller_mask)
        place = torch.arange(width, device=keep.device)
        real = place >= (width - lengths)[:, None] if left else place < lengths[:, None]
        columns = torch.zeros(real.shape, dtype=torch.long, device=keep.device)
        columns[real] = kept.nonzero()[:, 1]
        mask = real & caller_mask.bool().gather(1, columns)
        rank = kept.long().cumsum(1) - 1
        fill = (rank + (width - lengths)[:, None] if left else rank).clamp(min=0)
        axes = positions.gather(2, columns.expand(len(positions), -1, -1)) * mask
        text = (mask.long().cumsum(1) - 1).clamp(min=0)
        # padding columns keep position 0 in stock transformers, so the maximum is over real tokens
        placed = positions.masked_fill(~caller_mask.bool(), 0)
        highest = placed.amax((0, 2)) if len(positions) else mask.sum(1) - 1
        return cls(
            columns=columns,
            mask=mask.long(),
            fill=fill,
            kept=kept,
            caller_ids=caller_ids,
            caller_mask=caller_mask.long(),
            positions=_as_taken(text, axes),
            delta=(highest + 1 - caller_mask.long().sum(1))[:, None],
            padding=~real,
        )

    @classmethod
    def unseen(cls, mask: torch.Tensor, delta: torch.Tensor) -> PromptMap:
        """Make the map of columns that are in a cache as the caller wrote them, by ids that nobody told.

        Args:
            mask: [B, S], 1 for tokens.
            delta: int64 [B, 1], next position minus number of tokens.

        Returns:
            The map, its ids -1.
        """
        places = torch.arange(mask.shape[1], device=mask.device).expand(mask.shape)
        return cls(
            columns=places,
            mask=mask.long(),
            fill=places,
            kept=torch.ones_like(mask, dtype=torch.bool),
            caller_ids=torch.full_like(places, UNKNOWN_ID),
            caller_mask=mask.long(),
            positions=(mask.long().cumsum(1) - 1).clamp(min=0),
            delta=delta,
            padding=torch.zeros_like(mask, dtype=torch.bool),
        )

    def followed_by(self, new: PromptMap, *, is_placed: bool = False) -> PromptMap:
        """Join what a cache holds and what a call adds to it.

        Args:
            new: the map of the call's own columns, its positions from 0 on.
            is_placed: its positions are the caller's, and go on from the cache's already.

        Returns:
            The map of both.
        """
        seen = self.caller_mask.sum(1, keepdim=True)
        vision, text = seen + self.delta, self.mask.sum(1, keepdim=True)
        start = torch.zeros_like(vision) if is_placed else vision
        old, own = self.positions, new.positions
        axes = max(len(each) if each.ndim == 3 else 0 for each in (old, own))
        if axes:
            start = torch.stack([text, *[start] * (axes - 1)])
            old, own = (each if each.ndim == 3 else each.expand(axes, -1, -1) for each in (old, own))
        both = {
            name: torch.cat([getattr(self, name), getattr(new, name)], dim=1)
            for name in ("mask", "kept", "caller_ids", "caller_mask", "padding")
        }
        return PromptMap(
            columns=torch.cat([self.columns, new.columns + self.caller_length], dim=1),
            fill=torch.cat([self.fill, new.fill + self.length], dim=1),
            positions=torch.cat([old, own + start], dim=-1),
            delta=new.delta - seen if is_placed else self.delta + new.delta,
            cached=self.caller_length,
            cached_short=self.length,
            **both,
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
        return self.rows(torch.arange(len(self.mask)).repeat_interleave(times))

    def rows(self, index: torch.Tensor) -> PromptMap:
        """Select rows, int64 [rows], as the methods of a cache do."""
        index = index.to(self.mask.device)
        changed = {name: getattr(self, name)[index] for name in _BY_ROW}
        return replace(self, positions=self.positions.index_select(-2, index), **changed)

    def opens(self, ids: torch.Tensor) -> bool:
        """True when ids [B, n] begin with the caller's prompt: a whole conversation, not its new tokens alone."""
        if ids.shape[1] < self.caller_length or len(ids) != len(self.caller_ids):
            return False
        same = ids[:, : self.caller_length] == self.caller_ids
        return bool((same | ~self.caller_mask.bool() | (self.caller_ids == UNKNOWN_ID)).all())

    def shorten(self, ids: torch.Tensor, pad_value: int) -> torch.Tensor:
        """Bring a [B, S + n] tensor of the caller to [B, M + n]; what follows the prompt is kept as it is."""
        short = ids[:, : self.caller_length].gather(1, self.columns).masked_fill(self.padding, pad_value)
        return torch.cat([short, ids[:, self.caller_length :]], dim=1)

    @property
    def new_length(self) -> int:
        """Places that the call of this map adds to those in the cache."""
        return self.length - self.cached_short

    @property
    def new_fill(self) -> torch.Tensor:
        """int64 [B, n], the place among the call's own that stands for each of its columns."""
        return self.fill[:, self.cached :] - self.cached_short

    def expand_states(self, states: torch.Tensor) -> torch.Tensor:
        """Bring [B, m, D] hidden states of a call to the caller's [B, n, D].

        A dropped column takes the state of the last kept one before it, so that the column before any kept token
        holds the state that predicts this token: losses and log-probabilities taken in the caller's shape are right.
        """
        return states.gather(1, self.new_fill[..., None].expand(-1, -1, states.shape[-1]))

    def expand_attentions(self, weights: torch.Tensor) -> torch.Tensor:
        """Bring [B, h, m, M] attention weights of a call to [B, h, n, S]; dropped columns have weight 0."""
        index = self.new_fill[:, None, :, None].expand(-1, weights.shape[1], -1, weights.shape[3])
        return self.expand_keys(weights.gather(2, index))

    def expand_keys(self, weights: torch.Tensor) -> torch.Tensor:
        """Bring the last axis of [B, h, q, M + j] attention weights to [B, h, q, S + j]."""
        short, later = weights[..., : self.length], weights[..., self.length :]
        index = self.fill[:, None, None, :].expand(*weights.shape[:3], -1)
        return torch.cat([short.gather(3, index) * self.kept[:, None, None, :], later], dim=-1)

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
