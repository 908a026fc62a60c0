"""Tokens averaged: key tokens of scenes that merge, and tokens that repeat what their cell showed before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from framegate.models.stages.scene_merge.scenes import Join, openings
from framegate.models.video_tokens import VideoTokens, cells_per_tube, merged_by, tube_of_token


@dataclass(frozen=True)
class Agreed:
    """The joins that a floor leaves: root of each scene of a video, and of one join a number of cells only."""

    root: tuple[int, ...]
    part: Join | None = None
    part_cells: int = 0


def agreed_joins(
    tokens: VideoTokens, keys: Tensor, joins: Sequence[Sequence[Join]], floor: Sequence[int] | None
) -> list[Agreed]:
    """Take the joins of each video in their order until its floor is met, the last one in part."""
    counts, places = tokens.counts, _key_places(tokens, keys)
    agreed = []
    for video, (mine, cells) in enumerate(zip(joins, places, strict=True)):
        spare = counts[video] - floor[video] if floor is not None else counts[video]
        agreed.append(_agreed(mine, cells, max(spare, 0)))
    return agreed


def merge_key_tokens(tokens: VideoTokens, keys: Tensor, agreed: Sequence[Agreed]) -> VideoTokens:
    """Average the key tokens of the scenes of each group that stand at the same row and column, by size."""
    home = _home_tubes(tokens, keys, agreed)
    whole = merged_by(tokens, _home_cells(tokens, home))
    segment = _home_cells(whole, home)
    for part, opening in zip(agreed, openings(tokens, keys), strict=True):
        if part.part is not None:
            _join_cells(whole, segment, part, opening)
    return merged_by(whole, segment)


def _agreed(joins: Sequence[Join], cells: list[set[int]], spare: int) -> Agreed:
    root = list(range(len(cells)))
    for join in joins:
        shared = len(cells[join.into] & cells[join.gone])
        if shared > spare:
            return Agreed(tuple(root), join if spare else None, spare)
        spare -= shared
        cells[join.into] |= cells[join.gone]
        root = [join.into if scene == join.gone else scene for scene in root]
    return Agreed(tuple(root))


def _key_places(tokens: VideoTokens, keys: Tensor) -> list[list[set[int]]]:
    """Cells inside the tube at which each scene has a key token, by video and scene."""
    tube, place = tube_of_token(tokens), _cell_in_tube(tokens)
    found = []
    for opening in openings(tokens, keys):
        bounds = [torch.searchsorted(tube, torch.tensor([key, key + 1])).tolist() for key in opening]
        found.append([set(place[first:behind].tolist()) for first, behind in bounds])
    return found


def _cell_in_tube(tokens: VideoTokens) -> Tensor:
    """Number of each token's cell inside its tube, int64 [N]."""
    columns = torch.tensor([w for _, _, w in tokens.shapes])[tokens.video]
    return tokens.tyx[:, 1] * columns + tokens.tyx[:, 2]


def _home_tubes(tokens: VideoTokens, keys: Tensor, agreed: Sequence[Agreed]) -> Tensor:
    """Tube at which the tokens of each tube meet: the group's first key tube, others stay; int64 [tubes]."""
    home = torch.arange(len(keys))
    for mine, opening in zip(agreed, openings(tokens, keys), strict=True):
        for scene, root in enumerate(mine.root):
            home[opening[scene]] = opening[root]
    return home


def _home_cells(tokens: VideoTokens, home: Tensor) -> Tensor:
    """Dense cell at which each token meets those that it is averaged with, int64 [N]."""
    tube = tube_of_token(tokens)
    return tokens.cell - (tube - home[tube]) * cells_per_tube(tokens)[tube]


def _join_cells(tokens: VideoTokens, segment: Tensor, agreed: Agreed, opening: Sequence[int]) -> None:
    """Let the most similar cells of two groups meet, as many as agreed, in the home cells [N]."""
    assert agreed.part is not None, "only a join in part has cells to choose"
    into, gone = opening[agreed.part.into], opening[agreed.part.gone]
    first, second = _at_the_same_cell(segment, *_cells_of(tokens, into), _cells_of(tokens, gone)[0])
    features, device = tokens.features.detach(), tokens.features.device
    alike = cosine_similarity(features[first.to(device)].float(), features[second.to(device)].float(), dim=1)
    nearest = alike.cpu().argsort(descending=True, stable=True)[: agreed.part_cells]
    segment[second[nearest]] = segment[first[nearest]]


def _at_the_same_cell(segment: Tensor, into: int, area: int, gone: int) -> tuple[Tensor, Tensor]:
    """Tokens at home in two tubes that stand at the same row and column, one of each, int64 [n] and [n]."""
    of_cell = torch.full((2, area), -1)
    for side, start in enumerate((into, gone)):
        inside = ((segment >= start) & (segment < start + area)).nonzero()[:, 0]
        of_cell[side, segment[inside] - start] = inside
    both = of_cell[:, (of_cell >= 0).all(0)]
    return both[0], both[1]


def _cells_of(tokens: VideoTokens, tube: int) -> tuple[int, int]:
    """Number of the first dense cell of a tube, and of its cells."""
    cells = cells_per_tube(tokens)
    return int(cells[:tube].sum()), int(cells[tube])


def merge_repeats(
    tokens: VideoTokens, keys: Tensor, *, similarity: float, floor: Sequence[int] | None
) -> VideoTokens:
    """Merge tokens outside key tubes with the one before them at their cell, when they are alike.

    `keys`, bool [tubes], open a scene: their tokens begin anew and may be repeated by later ones. Alike are a token and
    the running, size-weighted mean of those that it would join, from a cosine of `similarity` on. Under a floor, the
    fewest tokens to leave in each video, the most alike merge first.
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
