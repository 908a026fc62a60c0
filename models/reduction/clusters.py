"""Clusters of neighbours, grown pair by pair from the most similar down."""

from __future__ import annotations

import torch
from torch import Tensor

from framegate.models.reduction.neighbours import chain_pairs, near_pairs

PAIRS_AT_ONCE = 512  # two blocks of rows that stay in the cache


@torch.no_grad()
def clusters(features: Tensor, size: Tensor, tyx: Tensor, wanted: int) -> Tensor:
    """Cluster the tokens of one video.

    Args:
        features: [n, D], floating point.
        size: int64 [n], what each token weighs.
        tyx: tube, row and column of each token, int64 [n, 3].
        wanted: number of clusters, in [1, n].

    Returns:
        Cluster of each token, int64 [n], named by its first member.
    """
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
