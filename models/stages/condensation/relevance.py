"""How relevant each tube is: by the query, or without one by what is new in it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from framegate.errors import ConfigError
from framegate.models.stages.condensation.config import CondensationConfig
from framegate.models.video_tokens import VideoTokens, first_tubes, tube_means


def query_relevance(query_features: Tensor | Sequence[Tensor], tokens: VideoTokens) -> Tensor:
    """Compare every tube with the query in the language model's own embedding space, without another encoder.

    Args:
        query_features: embeddings of the query's tokens, [Q, D], Q at least 1: one for all videos, or one per video.
        tokens: tokens of all videos, D wide.

    Returns:
        Cosine of the mean query embedding and the tube's mean token, float32 [tubes of all videos], on the CPU; 0 for
        tubes without tokens.

    Raises:
        ConfigError: no query token, another width, or neither one query nor one per video.

    Source: ours; KFFocus (arXiv 2508.08989) is said to rank by CLIP similarity, which needs a second model.
    """
    videos = len(tokens.shapes)
    queries = [query_features] * videos if isinstance(query_features, Tensor) else list(query_features)
    if len(queries) != videos:
        raise ConfigError(
            f"There are {len(queries)} queries for {videos} videos; give one, or one per video."
        )
    width = tokens.features.shape[1]
    for query in queries:
        if query.ndim != 2 or not len(query) or query.shape[1] != width:
            raise ConfigError(
                f"A query is {tuple(query.shape)}; it must be [at least one token, {width}], as wide as the video's."
            )
    means, starts = tube_means(tokens).detach(), first_tubes(tokens)
    middles = torch.stack([query.detach().to(means).mean(0) for query in queries])
    of_tube = torch.arange(videos).repeat_interleave(torch.tensor(starts).diff()).to(means.device)
    return cosine_similarity(means, middles[of_tube], dim=1).float().cpu()


def relevance_of(
    tokens: VideoTokens, tubes: Tensor, config: CondensationConfig, relevance: Tensor | None
) -> Tensor:
    """Take the relevance that was given, or the novelty of the tubes [K] to condense; [tubes of all videos]."""
    total = first_tubes(tokens)[-1]
    if relevance is None:
        if config.relevance == "query":
            raise ConfigError(
                'condensation.relevance is "query", and this call has no query: pass query=..., or set '
                'relevance="novelty".'
            )
        return _novelty(tokens, tubes)
    if relevance.shape != (total,) or not bool(relevance.isfinite().all()):
        raise ConfigError(
            f"relevance is {tuple(relevance.shape)}; it must hold one finite number for each of {total} tubes."
        )
    return relevance.detach().cpu()


def _novelty(tokens: VideoTokens, tubes: Tensor) -> Tensor:
    """1 - cosine of the means of each of the tubes and of the one before it; 1 for the first of a video."""
    starts = torch.tensor(first_tubes(tokens))
    video = torch.bucketize(tubes, starts[1:], right=True)
    means = tube_means(tokens).detach()[tubes.to(tokens.features.device)]
    novelty = torch.ones(int(starts[-1]), dtype=means.dtype)
    alike = cosine_similarity(means[1:], means[:-1], dim=1).cpu()
    novelty[tubes[1:]] = torch.where(video[1:] == video[:-1], 1 - alike, 1)
    return novelty
