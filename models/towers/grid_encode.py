"""Encoders of whole frames on kept patches: packed rows, patches of one frame attending one another alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from framegate.errors import ConfigError
from framegate.models.towers.offloaded import device_for, loaded
from framegate.models.transformers_private import attention_of

# Frames that are pooled at once: their whole grids are laid out at the width of what is pooled.
_FRAMES_AT_ONCE = 16


def add_mask(allowed: Tensor, dtype: torch.dtype) -> Tensor:
    """Turn pairs that may attend one another, bool, into what is added to their scores."""
    return torch.zeros_like(allowed, dtype=dtype).masked_fill(~allowed, torch.finfo(dtype).min)


# Attention functions that take a mask over pairs of rows; under any other each frame is a call of its own.
_PAIR_MASKS: dict[str, Callable[[Tensor, torch.dtype], Tensor]] = {
    "sdpa": lambda allowed, dtype: allowed,
    "eager": add_mask,
}


def embed_patches(
    tower: Any, patches: Tensor, places: Tensor, lengths: Sequence[int]
) -> tuple[Tensor, list[int]]:
    """Project patches that are cut already, and add the position embedding of their places, as SigLIP and CLIP do.

    [K, C * p * p], int64 [K], the place of each in its frame, row by row, and the patches of each frame -> rows [R, D]
    and those of each frame. A tower with a class token has it before the patches of every frame that has any
    (`class_rows`).
    """
    embeddings = tower.embeddings
    projected = project_patches(tower, embeddings.patch_embedding, patches)
    first = embeddings.num_positions - embeddings.num_patches  # the class token's position comes before
    rows = projected + embeddings.position_embedding(places.to(projected.device) + first)
    if not first:
        return rows, list(lengths)
    with loaded(embeddings):
        token = embeddings.class_embedding.to(rows)
    place = torch.zeros(1, dtype=torch.long, device=rows.device)
    whole, longer = with_class_tokens(rows, lengths, token + embeddings.position_embedding(place))
    return tower.pre_layrnorm(whole), longer


def project_patches(tower: Any, projection: Any, patches: Tensor) -> Tensor:
    """Project patches that are cut already by a tower's strided convolution: [K, C * p * p] -> [K, D]."""
    pixels = patches.to(device_for(tower, patches), projection.weight.dtype)
    projected: Tensor = projection(pixels.unflatten(1, (-1, *projection.kernel_size))).flatten(1)
    return projected  # [K, D, 1, 1] -> [K, D]


def with_class_tokens(rows: Tensor, lengths: Sequence[int], tokens: Tensor) -> tuple[Tensor, list[int]]:
    """Put class tokens, [1, D] or [f, D], before the rows [K, D] of the f frames that have any; and the new lengths."""
    longer = [length + bool(length) for length in lengths]
    is_class = class_rows(longer).to(rows.device)
    whole = rows.new_zeros(len(is_class), rows.shape[1])  # [K + f, D]
    whole[is_class], whole[~is_class] = tokens, rows
    return whole, longer


def class_rows(lengths: Sequence[int]) -> Tensor:
    """Which rows of frames are their class tokens, bool [R]; `lengths` count those."""
    starts = [end - length for end, length in zip(accumulate(lengths), lengths, strict=True) if length]
    found = torch.zeros(sum(lengths), dtype=torch.bool)
    found[starts] = True
    return found


def encode_rows(tower: Any, rows: Tensor, lengths: Sequence[int], layers: int | Sequence[int]) -> Tensor:
    """Run packed rows [K, D], frame by frame, through the encoder and select hidden states as LLaVA models do.

    `lengths` are the rows of each frame; `layers` indices into the hidden states, 0 for the embeddings, negative from
    the end. [K, D], or [K, D * indices]; ConfigError for an index that the tower has no hidden state for.
    """
    blocks = tower.encoder.layers
    wanted = _indices(layers, len(blocks) + 1)
    stack = blocks[: max(wanted)]
    allows_pairs = attention_of(tower.config) in _PAIR_MASKS
    # A mask over pairs makes every row score the whole group: no more of them than a dense frame has.
    capacity = int(tower.embeddings.num_positions) if allows_pairs else 0
    parts, start = [], 0
    for group in groups_of(lengths, capacity):
        states = rows[None, start : start + sum(group)]  # [1, rows of the group, D]
        start += sum(group)
        mask = frame_mask(tower, group, states) if len(group) > 1 else None
        parts.append(_selected(stack, states, mask, wanted))
    return torch.cat(parts) if parts else rows.new_zeros(0, rows.shape[1] * len(wanted))


def encode_alike(rows: Tensor, lengths: Sequence[int], encode: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Run packed rows [K, D], frame by frame, through layers that take no mask: frames of as many rows go together.

    `encode` takes the rows of such frames [f, n, D] and their numbers, int64 [f, n], and keeps their shape. [K, D].
    """
    encoded = rows.new_zeros(rows.shape)
    numbers = torch.arange(len(rows), device=rows.device).split(list(lengths))
    for count in sorted(set(filter(None, lengths))):
        index = torch.stack([frame for frame in numbers if len(frame) == count])
        encoded[index] = encode(rows[index], index)
    return encoded


def groups_of(lengths: Sequence[int], capacity: int) -> Iterator[list[int]]:
    """Put frames, in order, into groups of at most `capacity` rows; a longer frame is a group of its own.

    Yields the lengths of the frames of each group, frames without a row left out.
    """
    group: list[int] = []
    for length in filter(None, lengths):
        if group and sum(group) + length > capacity:
            yield group
            group = []
        group.append(length)
    if group:
        yield group


def frame_mask(tower: Any, lengths: Sequence[int], states: Tensor) -> Tensor:
    """Let rows of one frame attend one another alone: [1, 1, n, n] as the tower's attention function takes it."""
    return _PAIR_MASKS[attention_of(tower.config)](frame_pairs(lengths, states.device), states.dtype)


def frame_pairs(lengths: Sequence[int], device: torch.device) -> Tensor:
    """Which rows, of frames of such lengths, are of one frame: bool [1, 1, n, n]."""
    frame = torch.repeat_interleave(
        torch.arange(len(lengths), device=device), torch.tensor(lengths, device=device)
    )
    return (frame[:, None] == frame)[None, None]


def _selected(stack: Any, states: Tensor, mask: Tensor | None, wanted: Sequence[int]) -> Tensor:
    found = {0: states}
    for number, block in enumerate(stack, start=1):
        states = block(states, mask)
        if number in wanted:
            found[number] = states
    return torch.cat([found[index][0] for index in wanted], dim=-1)


def _indices(layers: int | Sequence[int], count: int) -> list[int]:
    given = [layers] if isinstance(layers, int) else list(layers)
    for index in given:
        if not -count <= index < count:
            raise ConfigError(
                f"vision_feature_layer is {layers}; this tower has hidden states {-count} to {count - 1}."
            )
    return [index % count for index in given]


def pool_kept(rows: Tensor, needed: Tensor, keep: Tensor, pool: Callable[[Tensor], Tensor]) -> Tensor:
    """Pool encoded patches by the family's own pooling, and take the kept cells out.

    A kept cell's token is pooled from the patches that it reads, and all of those are encoded. So nothing is ever read
    from a place that was skipped, and such places need no filling from their anchors: they hold zeros.

    rows [K, D], frame by frame; needed bool [F, n*n], their places; keep bool [F, H*W]; pool takes whole grids [f, n*n,
    D] to cells [f, H*W, D'] -> [kept cells, D'].
    """
    needed, keep = needed.to(rows.device), keep.to(rows.device)
    lengths = needed.sum(1).tolist()
    shown = [number for number, length in enumerate(lengths) if length]
    parts, start = [], 0
    for first in range(0, len(shown), _FRAMES_AT_ONCE):
        frames = shown[first : first + _FRAMES_AT_ONCE]
        end = start + sum(lengths[number] for number in frames)
        grid = rows.new_zeros(len(frames), needed.shape[1], rows.shape[1])  # [f, n*n, D]
        grid[needed[frames]] = rows[start:end]
        parts.append(pool(grid)[keep[frames]])  # [f, H*W, D'] -> [kept, D']
        start = end
    if parts:
        return torch.cat(parts)
    width = pool(rows.new_zeros(1, needed.shape[1], rows.shape[1])).shape[-1]
    return rows.new_zeros(0, width)
