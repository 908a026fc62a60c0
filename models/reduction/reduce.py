"""Reduction to an exact number of tokens by merging the most similar neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from framegate.errors import BudgetError
from framegate.models.reduction.clusters import clusters
from framegate.models.video_tokens import VideoTokens


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
