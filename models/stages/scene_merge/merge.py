"""Scene merging: the second stage of GRT, as printed and as released."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from framegate.models.stages.registry import StageCall
from framegate.models.stages.scene_merge import SceneMergeConfig
from framegate.models.stages.scene_merge.merged_tokens import agreed_joins, merge_key_tokens, merge_repeats
from framegate.models.stages.scene_merge.scenes import (
    Head,
    key_tubes,
    near_to_the_one_before,
    nearest_joins,
    openings,
    scene_distributions,
    scene_numbers,
)
from framegate.models.stages.scene_merge.top_k import keep_best
from framegate.models.video_tokens import VideoTokens


class SceneMerge(nn.Module):
    """Merges scenes that show the same: GRT's second stage.

    Args:
        settings: which scenes count as the same, and what becomes of their tokens.
        width: unused: it has no weights.
    """

    def __init__(self, settings: SceneMergeConfig | None = None, width: int = 0) -> None:
        super().__init__()
        self.settings = settings or SceneMergeConfig()

    def forward(self, tokens: VideoTokens, call: StageCall | None = None) -> VideoTokens:
        """Merge, down to the call's floor at most.

        Args:
            tokens: of all videos.
            call: head, floor, and how much cells had changed.

        Returns:
            The fewer tokens.

        Raises:
            ConfigError: distribution is "head" and the model has none.
        """
        call = call or StageCall()
        if self.settings.merge_rule == "top_k" and call.change is None:
            call.note(
                "scene_merge ranks by the change of features: the call does not say the gate's residuals."
            )
        scores = change_shares(tokens, call.change)
        merged = merge_scenes(tokens, self.settings, head=call.head, floor=call.floor, scores=scores)
        for note in merged.notes:
            call.note(note)
        return merged.tokens


def change_shares(tokens: VideoTokens, change: Tensor | None) -> Tensor | None:
    """How much each token's cell had changed, as a share of the most changed cell of its tube, float32 [N]."""
    if change is None:
        return None
    videos = change.float().cpu().split([t * h * w for t, h, w in tokens.shapes])
    tubes = [part.reshape(shape).flatten(1) for part, shape in zip(videos, tokens.shapes, strict=True)]
    shares = [tube / tube.amax(1, keepdim=True).clamp(min=1e-12) for tube in tubes]
    return torch.cat([share.flatten() for share in shares])[tokens.cell]


@dataclass(frozen=True, kw_only=True)
class MergedScenes:
    """What scene merging left.

    Args:
        tokens: the fewer tokens.
        notes: where the stage stood aside, and why.
        scenes: scene of each tube after merging, int64 [T] for each video, numbered by first appearance.
    """

    tokens: VideoTokens
    notes: tuple[str, ...]
    scenes: tuple[Tensor, ...] = field(repr=False)


def merge_scenes(
    tokens: VideoTokens,
    config: SceneMergeConfig,
    *,
    head: Head | None = None,
    floor: Sequence[int] | None = None,
    scores: Tensor | None = None,
) -> MergedScenes:
    """Merge the scenes of every video that show the same.

    A scene runs from a key tube to the next. With merge_rule "merge" the two nearest scenes or groups of scenes merge
    until none are nearer than the threshold; a group is known by the mean of its scenes' distributions. Their key
    tokens at the same row and column become their size-weighted mean, other tokens stay, or merge with what they
    repeat. With "top_k" scenes are compared in pairs of neighbours, and every tube keeps its best tokens.

    Args:
        tokens: tokens of all videos.
        config: the settings.
        head: language-model head, features [S, D] -> logits [S, V], for distribution "head".
        floor: fewest tokens to leave in each video; "merge" stops there, the nearest pairs and in the last one the most
            similar cells having merged, "top_k" leaves exactly as many. None for no floor.
        scores: motion score of each token for "top_k", [N], at most 1 in each tube; None for the change of features
            against the tube before.

    Returns:
        The fewer tokens, notes, and the scene of every tube; pairs that a floor let merge in part count as two.
        Deterministic, each video as if it were alone; differentiable in the features (the choices are not).

    Raises:
        ConfigError: distribution is "head" and there is none, or scores are not one finite number per token.

    Source: GRT (arXiv 2509.14199) stage 2 and, for "top_k", its released code. The paper leaves open which pairs are
        compared and how averages go on: nearest pair first, running means, recurring scenes and floors are ours.
    """
    keys = key_tubes(tokens, config.scene_cut_fraction)
    distributions = scene_distributions(tokens, keys, config, head)
    if config.merge_rule == "top_k":
        near = [near_to_the_one_before(rows, config, backend=tokens.backend) for rows in distributions]
        left, roots = (
            _best_of_tubes(tokens, keys, near, config, scores, floor),
            [_chained(row) for row in near],
        )
        notes = tuple(_notes_of_top_k(tokens, left, config))
        return MergedScenes(tokens=left, notes=notes, scenes=scene_numbers(tokens, keys, roots))
    joins = [nearest_joins(rows, config, backend=tokens.backend) for rows in distributions]
    agreed = agreed_joins(tokens, keys, joins, floor)
    left = merge_key_tokens(tokens, keys, agreed)
    if config.merge_repeats:
        left = merge_repeats(left, keys, similarity=config.repeat_similarity, floor=floor)
    return MergedScenes(
        tokens=left,
        notes=tuple(_notes(tokens, keys, floor)),
        scenes=scene_numbers(tokens, keys, [mine.root for mine in agreed]),
    )


def _best_of_tubes(
    tokens: VideoTokens,
    keys: Tensor,
    near: Sequence[Sequence[bool]],
    config: SceneMergeConfig,
    scores: Tensor | None,
    floor: Sequence[int] | None,
) -> VideoTokens:
    """Keep the best tokens of every tube; key tubes near to the one before do not survive as such."""
    surviving = keys.clone()
    for opening, row in zip(openings(tokens, keys), near, strict=True):
        for key, gone in zip(opening, row, strict=False):  # a video without tokens has no key tube
            surviving[key] = not gone
    return keep_best(tokens, surviving, config, scores=scores, floor=floor)


def _chained(near: Sequence[bool]) -> list[int]:
    """First scene of the run of near scenes in which each one is."""
    root: list[int] = []
    for scene, is_near in enumerate(near):
        root.append(root[-1] if is_near else scene)
    return root


def _notes(tokens: VideoTokens, keys: Tensor, floor: Sequence[int] | None) -> list[str]:
    """Where scene merging stands aside."""
    notes = []
    for video, (opening, count) in enumerate(zip(openings(tokens, keys), tokens.counts, strict=True)):
        if floor is not None and count <= floor[video]:
            notes.append(f"video {video}: scene merging stands aside, {count} tokens are within the budget")
        elif len(opening) < 2:
            notes.append(
                f"video {video}: scene merging stands aside, divergence needs two scenes and there is {len(opening)}"
            )
    return notes


def _notes_of_top_k(tokens: VideoTokens, left: VideoTokens, config: SceneMergeConfig) -> list[str]:
    """Where the best tokens of every tube are all of them."""
    return [
        f"video {video}: top_k drops nothing of {before} tokens (top_k_ratio {config.top_k_ratio}, top_k_minimum "
        f"{config.top_k_minimum} per tube, or the budget allows it)"
        for video, (before, after) in enumerate(zip(tokens.counts, left.counts, strict=True))
        if before == after
    ]
