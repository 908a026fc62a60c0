"""Exact reduction: what other stages leave over a budget is merged, the most similar neighbours first."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from framegate.errors import BudgetError
from framegate.models.stages.registry import StageCall
from framegate.models.video_tokens import VideoTokens


class Reduction(nn.Module):
    """Brings every video down to its target by merging the most similar neighbours.

    Args:
        settings: None, there are none.
        width: unused: it has no weights.
    """

    def __init__(self, settings: None = None, width: int = 0) -> None:
        super().__init__()

    def forward(self, tokens: VideoTokens, call: StageCall | None = None) -> VideoTokens:
        """Merge down to the call's targets; the same object where none is over."""
        call = call or StageCall()
        if call.targets is None:
            return tokens
        counts = [min(count, want) for count, want in zip(tokens.counts, call.targets, strict=True)]
        call.report.stage("reduction").note = "most similar neighbours merged, down to the budget"
        return reduce_to(tokens, counts)


def reduce_to(tokens: VideoTokens, counts: Sequence[int]) -> VideoTokens:
    """Merge neighbours until every video has exactly the given number of tokens.

    Neighbours are the next token at the same cell in time, and the next one in the same row or column of the tube.
    Rounds of disjoint pairs, each the most similar one of both its tokens, are merged from the most similar down, at
    most half of what is still over in a round, so that merged tokens take part in the next. Where no neighbours are
    left, tokens read one after the other count as such.

    Args:
        tokens: tokens of all videos.
        counts: tokens to leave in each video, at least 1 and at most what it has.

    Returns:
        Exactly that many tokens, in the order of their cells; means are weighted by size. Deterministic, each video as
        if it were alone; differentiable in the features (the choices are not).

    Raises:
        BudgetError: not one count per video, or one that is below 1 or above what the video has.

    Source: ours, after ToMe (arXiv 2210.09461): cosine similarity and proportional means, but neighbours only.
    """
    present = tokens.counts
    _check(present, counts)
    if list(counts) == present:
        return tokens
    segment = torch.arange(tokens.num_tokens)
    tyx, starts = tokens.tyx, [0, *torch.tensor(present).cumsum(0).tolist()]
    for video, wanted in enumerate(counts):
        inside = slice(starts[video], starts[video + 1])
        if wanted < present[video]:
            features, size = tokens.features[inside].detach(), tokens.size[inside]
            segment[inside] = starts[video] + clusters(features, size, tyx[inside], wanted)
    return tokens.merged(segment)


def _check(present: Sequence[int], counts: Sequence[int]) -> None:
    if len(counts) != len(present):
        raise BudgetError(f"There are {len(counts)} counts for {len(present)} videos; give one per video.")
    for video, (wanted, now) in enumerate(zip(counts, present, strict=True)):
        if not (1 <= wanted <= now or wanted == now):
            raise BudgetError(
                f"Video {video} cannot be reduced to {wanted} tokens; it has {now}: ask for 1 to {now}."
            )


PAIRS_AT_ONCE = 512  # two blocks of rows that stay in the cache


@torch.no_grad()
def clusters(features: Tensor, size: Tensor, tyx: Tensor, wanted: int) -> Tensor:
    """Cluster the tokens of one video, features [n, D]: int64 [n], named by each cluster's first member."""
    mean = features.to(torch.promote_types(features.dtype, torch.float32), copy=True)
    length, weight = mean.norm(dim=1), size.to(mean)
    root, over = torch.arange(len(mean)), len(mean) - wanted
    pairs = near_pairs(tyx)
    alike = _similarity(mean, length, pairs)
    while over:
        if not len(pairs):
            pairs = _contracted(chain_pairs(len(root)), root)
            alike = _similarity(mean, length, pairs)
        # half of the rest at most: what is merged now may be the best neighbour of the next round
        chosen = _best_pairs(pairs, alike, len(root))[: (over + 1) // 2]
        kept, gone = pairs[chosen].T
        _merge_rows(mean, length, weight, kept, gone)
        root[gone] = kept
        root, over = root[root], over - len(chosen)
        pairs, alike = _updated(pairs, alike, (mean, length), root, kept)
    return root


def _similarity(mean: Tensor, length: Tensor, pairs: Tensor) -> Tensor:
    """Cosine of the two rows of each pair [E, 2], [E] on the CPU."""
    first, second = pairs.to(mean.device).T
    dot = mean.new_zeros(len(pairs))
    for start in range(0, len(pairs), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        dot[part] = mean.index_select(0, first[part]).mul_(mean.index_select(0, second[part])).sum(1)
    return (dot / (length[first] * length[second]).clamp(min=torch.finfo(dot.dtype).tiny)).cpu()


def _best_pairs(pairs: Tensor, alike: Tensor, count: int) -> Tensor:
    """Number the pairs that are the most similar one of both their tokens, the best first, ties to the earlier."""
    order = alike.argsort(descending=True, stable=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order))
    best = torch.full((count,), len(order))
    best = best.scatter_reduce(0, pairs.flatten(), rank.repeat_interleave(2), "amin")
    mutual = (best[pairs] == rank[:, None]).all(1)
    return order[mutual[order]]


def _merge_rows(mean: Tensor, length: Tensor, weight: Tensor, kept: Tensor, gone: Tensor) -> None:
    """Put the weighted mean of disjoint pairs of rows in the place of the first, in place."""
    kept, gone = kept.to(mean.device), gone.to(mean.device)
    total = weight[kept] + weight[gone]
    merged = torch.lerp(mean[kept], mean[gone], (weight[gone] / total)[:, None])
    mean[kept], length[kept], weight[kept] = merged, merged.norm(dim=1), total


def _updated(
    pairs: Tensor, alike: Tensor, rows: tuple[Tensor, Tensor], root: Tensor, changed: Tensor
) -> tuple[Tensor, Tensor]:
    """Pairs of clusters after a round, and their similarity, computed again only where a cluster changed."""
    touched = torch.zeros(len(root), dtype=torch.bool)
    touched[changed] = True
    stale = touched[root[pairs]].any(1)
    renewed = _contracted(pairs[stale], root)
    return (
        torch.cat([pairs[~stale], renewed]),
        torch.cat([alike[~stale], _similarity(*rows, renewed)]),
    )


def _contracted(pairs: Tensor, root: Tensor) -> Tensor:
    """Pairs of the clusters in which pairs of tokens are, [E, 2], each once, the earlier cluster first."""
    between = root[pairs].sort(1).values
    between = between[between[:, 0] != between[:, 1]]
    number = torch.unique(between[:, 0] * len(root) + between[:, 1])  # unique rows are sought far more slowly
    return torch.stack([number // len(root), number % len(root)], dim=1)


def near_pairs(tyx: Tensor) -> Tensor:
    """Pair the tokens of a video, at different places int64 [n, 3], with those next to them: int64 [E, 2], the earlier
    first.

    Each token with the next one at the same cell, in its row and in its column of the same tube. Tokens between which
    no other stands are next to each other, for condensation leaves some at every second or fourth cell only.
    """
    tube, row, column = tyx.T
    return torch.cat(
        [
            _next_of(tyx, (row, column, tube)),
            _next_of(tyx, (tube, row, column)),
            _next_of(tyx, (tube, column, row)),
        ]
    )


def chain_pairs(count: int) -> Tensor:
    """Pair each of count tokens with the one read after it, int64 [count - 1, 2]."""
    first = torch.arange(max(count - 1, 0))
    return torch.stack([first, first + 1], dim=1)


def _next_of(tyx: Tensor, key: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Pair tokens that follow each other along the last of three coordinates, the first two being equal."""
    sides = tyx.max(0).values + 1 if len(tyx) else tyx.new_ones(3)
    side = int(sides.max())
    line = key[0] * side + key[1]
    order = (line * side + key[2]).argsort()
    same = line[order].diff() == 0
    return torch.stack([order[:-1][same], order[1:][same]], dim=1)
