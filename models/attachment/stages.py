"""The stages between the tower and the language model, in order, each accounted for in the report."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from framegate.config import FrontEndConfig
from framegate.errors import ConfigError
from framegate.models.attachment.surroundings import Surroundings
from framegate.models.condensation.condense import condense
from framegate.models.condensation.relevance import query_relevance
from framegate.models.pruning.vidcom2 import prune
from framegate.models.reduction.reduce import reduce_to
from framegate.models.scene_merge.merge import merge_scenes
from framegate.models.video_tokens import VideoTokens
from framegate.report import Report


def has_stages(config: FrontEndConfig) -> bool:
    """True when tokens are changed after the tower."""
    reduces = config.reduces_after_tower and not config.is_identity
    return reduces or config.spatiotemporal is not None


def run_stages(
    tokens: VideoTokens, config: FrontEndConfig, around: Surroundings, report: Report
) -> VideoTokens:
    """Merge, condense, prune, bring down to the budget, and place in time.

    Args:
        tokens: of all videos of the call, as the tower made them.
        config: the front end's configuration.
        around: what stages may ask for.
        report: filled in.

    Returns:
        The tokens that enter the language model; with keep_ratio exactly as many as it asks for, where the gate passed
        as many.

    Raises:
        ConfigError: a stage needs what the call does not bring (a query, a head).

    Source: ours in their order and in the budget; each stage names its own.
    """
    if config.reduces_after_tower and not config.is_identity:
        targets = _targets(tokens, config)
        floor = targets if config.keep_ratio is not None else None
        tokens = _merge(tokens, config, around, floor, report)
        tokens = _condense(tokens, config, around, floor, report)
        tokens = _prune(tokens, config, targets, report)
        tokens = _reduce(tokens, targets, report)
    return _placed(tokens, config, around, report)


def _targets(tokens: VideoTokens, config: FrontEndConfig) -> list[int] | None:
    """Tokens that each video may have in the end; None without a budget."""
    budget = config.budget
    if budget.keep_ratio is None and budget.max_tokens is None:
        return None
    dense = [t * h * w for t, h, w in tokens.shapes]
    wanted = [budget.exact(cells) or budget.max_tokens or cells for cells in dense]
    return [min(count, want) for count, want in zip(tokens.counts, wanted, strict=True)]


def _merge(
    tokens: VideoTokens,
    config: FrontEndConfig,
    around: Surroundings,
    floor: list[int] | None,
    report: Report,
) -> VideoTokens:
    if config.scene_merge is None:
        return tokens
    with _accounted(report, "scene_merge", tokens) as stage:
        merged = merge_scenes(
            tokens,
            config.scene_merge,
            head=around.head,
            floor=floor,
            scores=_motion_score(tokens, around.score),
            encoded=around.encoded,
        )
        stage.tokens_out = merged.tokens.num_tokens
    for note in merged.notes:
        report.note(note)
    return merged.tokens


def _motion_score(tokens: VideoTokens, score: Tensor | None) -> Tensor | None:
    """How much each token's cell had changed, as a share of the most changed cell of its tube, float32 [N]."""
    if score is None:
        return None
    videos = score.float().cpu().split([t * h * w for t, h, w in tokens.shapes])
    tubes = [part.reshape(shape).flatten(1) for part, shape in zip(videos, tokens.shapes, strict=True)]
    shares = [tube / tube.amax(1, keepdim=True).clamp(min=1e-12) for tube in tubes]
    return torch.cat([share.flatten() for share in shares])[tokens.cell]


def _condense(
    tokens: VideoTokens,
    config: FrontEndConfig,
    around: Surroundings,
    floor: list[int] | None,
    report: Report,
) -> VideoTokens:
    if config.condensation is None:
        return tokens
    with _accounted(report, "condensation", tokens) as stage:
        relevance = around.relevance
        if relevance is None and config.condensation.relevance == "query":
            relevance = query_relevance(around.query(), tokens)
        condensed = condense(tokens, config.condensation, relevance=relevance, floor=floor)
        stage.tokens_out = condensed.tokens.num_tokens
    for note in condensed.notes:
        report.note(note)
    return condensed.tokens


def _prune(
    tokens: VideoTokens, config: FrontEndConfig, targets: list[int] | None, report: Report
) -> VideoTokens:
    if config.pruning is None:
        return tokens
    assert targets is not None, "FrontEndConfig asks for a budget"
    counts = [min(count, want) for count, want in zip(tokens.counts, targets, strict=True)]
    with _accounted(report, "pruning", tokens) as stage:
        pruned = prune(tokens, config.pruning, counts)
        stage.tokens_out, stage.note = pruned.num_tokens, config.pruning.pruner
    return pruned


def _reduce(tokens: VideoTokens, targets: list[int] | None, report: Report) -> VideoTokens:
    if targets is None or all(count <= want for count, want in zip(tokens.counts, targets, strict=True)):
        return tokens
    counts = [min(count, want) for count, want in zip(tokens.counts, targets, strict=True)]
    with _accounted(report, "reduction", tokens) as stage:
        reduced = reduce_to(tokens, counts)
        stage.tokens_out, stage.note = (
            reduced.num_tokens,
            "most similar neighbours merged, down to the budget",
        )
    return reduced


def _placed(tokens: VideoTokens, config: FrontEndConfig, around: Surroundings, report: Report) -> VideoTokens:
    if config.spatiotemporal is None:
        return tokens
    if around.module is None:
        raise ConfigError("spatiotemporal is set, and the front end has no module for it; attach again.")
    with _accounted(report, "spatiotemporal", tokens) as stage:
        placed: VideoTokens = around.module(tokens, around.times_seconds)
        stage.tokens_out = placed.num_tokens
    return placed


@contextmanager
def _accounted(report: Report, name: str, tokens: VideoTokens) -> Iterator[Any]:
    started = time.perf_counter()
    stage = report.stage(name)
    stage.tokens_in = tokens.num_tokens
    yield stage
    stage.milliseconds = (time.perf_counter() - started) * 1000
