"""Tokens outside key tubes that repeat what their cell showed before."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from framegate.models.video_tokens import VideoTokens, tube_of_token


def merge_repeats(
    tokens: VideoTokens, keys: Tensor, *, similarity: float, floor: Sequence[int] | None
) -> VideoTokens:
    """Merge tokens outside key tubes with the one before them at their cell, when they are alike.

    Args:
        tokens: tokens of all videos.
        keys: tubes that open a scene, bool [tubes]; their tokens begin anew and may be repeated by later ones.
        similarity: least cosine of a token and the running, size-weighted mean of those that it would join.
        floor: fewest tokens to leave in each video, the most alike merge first; None for no floor.

    Returns:
        The fewer tokens.
    """
    order = _by_cell_and_time(tokens)
    starts = _starts_of_cells(tokens, order)
    alike = _likeness(tokens, order, starts, keys, similarity)
    joins = alike >= similarity
    if floor is not None:
        joins = _most_alike(tokens, alike, joins, floor)
    if not bool(joins.any()):
        return tokens
    segment = torch.empty_like(order)
    segment[order] = (~joins[order]).cumsum(0)
    return tokens.merged(segment)


def _place_in_space(tokens: VideoTokens) -> Tensor:
    """Number of each token's video, row and column, int64 [N]."""
    sides = [max(shape[axis] for shape in tokens.shapes) for axis in (1, 2)]
    _, row, column = tokens.tyx.T
    return (tokens.video * sides[0] + row) * sides[1] + column


def _by_cell_and_time(tokens: VideoTokens) -> Tensor:
    """Tokens by video, row and column, those at one cell in order of time, int64 [N]."""
    return _place_in_space(tokens).argsort(stable=True)


def _starts_of_cells(tokens: VideoTokens, order: Tensor) -> Tensor:
    """Where in the order each cell's tokens begin, and behind them its length, int64 [cells + 1]."""
    place = _place_in_space(tokens)[order]
    first = (place.diff(prepend=place[:1] - 1) != 0).nonzero()[:, 0]
    return torch.cat([first, torch.tensor([len(order)])])


@torch.no_grad()
def _likeness(tokens: VideoTokens, order: Tensor, starts: Tensor, keys: Tensor, similarity: float) -> Tensor:
    """Cosine of each token and the running mean at its cell, [N] on the CPU; -2 for those that begin anew."""
    features, device = tokens.features, tokens.features.device
    wide = torch.promote_types(features.dtype, torch.float32)
    alike = torch.full((tokens.num_tokens,), -2, dtype=wide)
    may_join = ~keys[tube_of_token(tokens)]
    length = starts.diff()
    running = features.new_zeros(len(length), features.shape[1], dtype=wide)
    for step in range(int(length.max()) if len(length) else 0):
        cells = (length > step).nonzero()[:, 0]
        now = order[starts[cells] + step]
        rows = features[now.to(device)].to(wide)
        found = torch.cosine_similarity(running[cells.to(device)], rows, dim=1).cpu()
        alike[now] = torch.where(may_join[now] & (step > 0), found, -2)
        mass = rows * tokens.size[now].to(rows)[:, None]
        goes_on = (alike[now] >= similarity).to(device)[:, None]
        running[cells.to(device)] = torch.where(goes_on, running[cells.to(device)] + mass, mass)
    return alike


def _most_alike(tokens: VideoTokens, alike: Tensor, joins: Tensor, floor: Sequence[int]) -> Tensor:
    """Of the tokens that would join, the most alike of each video for which there is room, bool [N]."""
    chosen, video = torch.zeros_like(joins), tokens.video
    for number, count in enumerate(tokens.counts):
        mine = (joins & (video == number)).nonzero()[:, 0]
        nearest = alike[mine].argsort(descending=True, stable=True)[: max(count - floor[number], 0)]
        chosen[mine[nearest]] = True
    return chosen
