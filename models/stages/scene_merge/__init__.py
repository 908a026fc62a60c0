"""Settings of scene merging, validated when they are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from framegate.errors import ConfigError
from framegate.models.stages.registry import StageSpec
from framegate.settings import Count, Range, Share, check

MergeRule = Literal["merge", "top_k"]
Divergence = Literal["jensen_shannon", "reversed"]
SceneDistribution = Literal["head", "features"]


@dataclass(frozen=True, kw_only=True)
class SceneMergeConfig:
    """Which scenes count as the same, and what becomes of their tokens.

    Args:
        merge_rule: "merge" averages the key tokens of scenes that merge, cell by cell, and keeps the other tokens;
            "top_k" averages nothing and keeps the best tokens of every tube, as the released code does.
        divergence: "jensen_shannon", at most ln 2; "reversed" the released code's, which has no bound. Thresholds of
            the one say nothing about the other.
        divergence_threshold: scenes whose distributions are nearer than this merge, in nats, 0 or more.
        distribution: "head" the language model's next-token distribution for the mean key token; "features" a softmax
            over the mean key token's own values, standardised, for models without a head.
        recurring: merge scenes that are apart in time as well, not only neighbours.
        scene_cut_fraction: a tube opens a scene when more than this share of its cells was encoded, in (0, 1]; with 1
            a video is one scene.
        merge_repeats: also merge a token outside key tubes with the one before it at its cell, when they are alike.
        repeat_similarity: cosine from which on such tokens are alike, in [-1, 1].
        top_k_ratio: share of the tokens of every tube that "top_k" keeps, in (0, 1]; not used under a budget.
        top_k_minimum: fewest tokens of every tube that "top_k" keeps, at least 1; not used under a budget.

    Raises:
        ConfigError: a value out of range, or recurring or merge_repeats together with "top_k".

    Source: GRT (arXiv 2509.14199) section 3, its released code for "reversed", "top_k" and the values 0.8, 0.5 and 16.
        The paper does not say its threshold: about a tenth of ln 2, "features", recurring and repeats are ours.
    """

    merge_rule: MergeRule = "merge"
    divergence: Divergence = "jensen_shannon"
    divergence_threshold: Annotated[float, Range(least=0)] = 0.07
    distribution: SceneDistribution = "head"
    recurring: bool = False
    scene_cut_fraction: Share = 0.8
    merge_repeats: bool = False
    repeat_similarity: Annotated[float, Range(least=-1, most=1)] = 0.95
    top_k_ratio: Share = 0.5
    top_k_minimum: Count = 16

    def __post_init__(self) -> None:
        check(self, "scene_merge")
        for name in ("recurring", "merge_repeats"):
            if self.merge_rule == "top_k" and getattr(self, name):
                raise ConfigError(
                    f'scene_merge.{name} needs merge_rule "merge": "top_k" merges no tokens. Set {name}=False.'
                )


STAGE = StageSpec(
    config=SceneMergeConfig, module="framegate.models.stages.scene_merge.merge:SceneMerge", order=10
)
