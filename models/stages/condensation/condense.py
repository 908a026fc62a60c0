"""Condensation: area pooling of whole tubes, light where it matters and strong elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from framegate.errors import ConfigError
from framegate.kernels.pool_condense import area_segments, pool_areas
from framegate.models.stages.condensation import CondensationConfig
from framegate.models.stages.registry import StageCall
from framegate.models.video_tokens import (
    VideoTokens,
    cells_per_tube,
    encoded_cells_per_tube,
    first_tubes,
    merged_by,
    tokens_per_tube,
    tube_means,
    tube_of_token,
)


class VariableCondensation(nn.Module):
    """Pools the tokens of whole tubes, lightly where they are relevant and strongly elsewhere: KFFocus' token layer.

    Args:
        settings: ratios, and what counts as relevant.
        width: unused: it has no weights.
    """

    def __init__(self, settings: CondensationConfig | None = None, width: int = 0) -> None:
        super().__init__()
        self.settings = settings or CondensationConfig()

    def forward(self, tokens: VideoTokens, call: StageCall | None = None) -> VideoTokens:
        """Pool, down to the call's floor at most.

        Args:
            tokens: of all videos.
            call: floor, relevance of the tubes or the question to work it out from.

        Returns:
            The fewer tokens.

        Raises:
            ConfigError: relevance is "query", and the call brings neither a question nor relevance.
        """
        call = call or StageCall()
        relevance = call.relevance
        if relevance is None and self.settings.relevance == "query" and call.query is not None:
            relevance = query_relevance(call.query(), tokens)
        condensed = condense(tokens, self.settings, relevance=relevance, floor=call.floor)
        for note in condensed.notes:
            call.note(note)
        return condensed.tokens


@dataclass(frozen=True, kw_only=True)
class Condensed:
    """What condensation left.

    Args:
        tokens: the fewer tokens.
        notes: where the stage stood aside, and why.
        area: rows and columns of the areas into which each tube was pooled, int64 [tubes of all videos, 2]; 1 x 1 where
            it was not, also where a budget pooled only a part of it.
    """

    tokens: VideoTokens
    notes: tuple[str, ...]
    area: Tensor = field(repr=False)


def condense(
    tokens: VideoTokens,
    config: CondensationConfig,
    *,
    relevance: Tensor | None = None,
    floor: Sequence[int] | None = None,
) -> Condensed:
    """Pool the tokens of every tube by areas whose side depends on the tube's relevance.

    In each video the top ceil(light_share * tubes) of the tubes to condense take light_ratio, ties to the earlier tube,
    the others strong_ratio; tubes without tokens do not count. Under a floor the least relevant tubes are condensed
    first, and the last one only in part: the areas with the least variance first, the last of them without the tokens
    farthest from its mean.

    Args:
        tokens: tokens of all videos.
        config: the settings.
        relevance: relevance of each tube of all videos, float [tubes], higher is more relevant; None for novelty.
        floor: fewest tokens to leave in each video, met exactly where full condensation would leave fewer; None for
            no floor.

    Returns:
        The fewer tokens, notes, and the areas used. Deterministic, each video as if it were alone; differentiable in
        the features (the choices are not).

    Raises:
        ConfigError: relevance is "query" and none was given, or it does not hold one finite number per tube.

    Source: KFFocus (arXiv 2508.08989) token layer; order under a floor: ours.
    """
    tubes = _condensable(tokens, config)
    ranks = relevance_of(tokens, tubes, config, relevance)
    area, order = _areas(tokens, config, tubes, ranks)
    place = torch.cat([tube_of_token(tokens)[:, None], tokens.tyx[:, 1:]], dim=1)
    sides = area[place[:, 0]]
    segment = area_segments(place, sides)
    if floor is not None:
        segment, whole = above_floor(tokens, segment, order, floor)
        area = torch.where(whole[:, None], area, 1)
    notes = tuple(_notes(tokens, order, floor))
    pooled = merged_by(tokens, segment, mean=partial(pool_areas, place=place, area=sides))
    return Condensed(tokens=pooled, notes=notes, area=area)


def area_sides(ratio: int, config: CondensationConfig) -> tuple[int, int]:
    """Rows and columns of the areas of a ratio."""
    if config.ratio_semantics == "stride":
        return ratio, ratio
    rows = next(side for side in range(math.isqrt(ratio), 0, -1) if ratio % side == 0)
    return rows, ratio // rows


def _condensable(tokens: VideoTokens, config: CondensationConfig) -> Tensor:
    """Numbers of the tubes that are condensed, int64 [K]."""
    whole = encoded_cells_per_tube(tokens) == cells_per_tube(tokens)
    return (whole if config.key_tubes_only else tokens_per_tube(tokens) > 0).nonzero()[:, 0]


def _areas(
    tokens: VideoTokens, config: CondensationConfig, tubes: Tensor, relevance: Tensor
) -> tuple[Tensor, list[list[int]]]:
    """Sides of the areas of every tube, and the condensed tubes of each video, the least relevant first."""
    starts = first_tubes(tokens)
    area = torch.ones(starts[-1], 2, dtype=torch.long)
    order = []
    for first, behind in zip(starts, starts[1:], strict=False):
        mine = tubes[(tubes >= first) & (tubes < behind)]
        ranked = mine[relevance[mine].argsort(descending=True, stable=True)]
        # not 4 of 30 for a share of 0.1, whose product is a little above 3
        light = math.ceil(config.light_share * len(mine) - 1e-9)
        area[ranked[:light]] = torch.tensor(area_sides(config.light_ratio, config))
        area[ranked[light:]] = torch.tensor(area_sides(config.strong_ratio, config))
        order.append(ranked.flip(0).tolist())
    return area, order


def _notes(tokens: VideoTokens, order: list[list[int]], floor: Sequence[int] | None) -> list[str]:
    """Where condensation stands aside."""
    notes = []
    for video, (tubes, count) in enumerate(zip(order, tokens.counts, strict=True)):
        if floor is not None and count <= floor[video]:
            notes.append(f"video {video}: condensation stands aside, {count} tokens are within the budget")
        elif not tubes:
            notes.append(f"video {video}: condensation stands aside, no tube is encoded whole")
    return notes


def above_floor(
    tokens: VideoTokens, segment: Tensor, order: Sequence[Sequence[int]], floor: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Pool tube after tube, in the order given, for as long as every video keeps its floor.

    Segment of each token, int64 [N], its area's (none lies in two tubes) or one of its own; and the tubes pooled whole,
    bool [tubes].
    """
    tube, count = tube_of_token(tokens), tokens_per_tube(tokens)
    of_area = torch.zeros(int(segment.max()) + 1 if len(segment) else 0, dtype=torch.long)
    of_area[segment] = tube
    saving = (count - torch.bincount(of_area, minlength=len(count))).tolist()
    ends = count.cumsum(0).tolist()
    found = len(of_area) + torch.arange(len(segment))
    whole = torch.zeros(len(count), dtype=torch.bool)
    for video, present in enumerate(tokens.counts):
        spare = present - floor[video]
        for number in order[video]:
            if spare <= 0:
                break
            inside = slice(ends[number] - int(count[number]), ends[number])
            whole[number] = saving[number] <= spare
            pooled = torch.ones(int(count[number]), dtype=torch.bool)
            if not whole[number]:
                pooled = _partly(tokens.features[inside].detach(), segment[inside], spare)
            found[inside] = torch.where(pooled, segment[inside], found[inside])
            spare -= saving[number]
    return found, whole


def _partly(features: Tensor, segment: Tensor, spare: int) -> Tensor:
    """Tokens [n] to pool so that exactly `spare` tokens of a tube are saved, less than all its areas save."""
    areas, area = torch.unique(segment, return_inverse=True)
    members = torch.bincount(area)
    apart = _distance_from_mean(features, area, members)
    spread = torch.zeros(len(areas), dtype=apart.dtype).index_add(0, area, apart) / members
    order = spread.argsort(stable=True)
    saved = (members[order] - 1).cumsum(0)
    fitting = int((saved <= spare).sum())
    pooled = torch.isin(area, order[:fitting])
    left = spare - (int(saved[fitting - 1]) if fitting else 0)
    if left:
        inside = (area == order[fitting]).nonzero()[:, 0]
        pooled[inside[apart[inside].argsort(stable=True)[: left + 1]]] = True
    return pooled


def _distance_from_mean(features: Tensor, area: Tensor, members: Tensor) -> Tensor:
    """Squared distance of each row [n, D] from its area's mean, [n] on the CPU."""
    wide = features.to(torch.promote_types(features.dtype, torch.float32))
    where = area.to(features.device)
    total = wide.new_zeros(len(members), wide.shape[1]).index_add(0, where, wide)
    return (wide - (total / members.to(wide)[:, None])[where]).square().sum(1).cpu()


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
