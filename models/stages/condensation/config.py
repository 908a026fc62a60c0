"""Settings of condensation, validated when they are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from framegate.errors import ConfigError
from framegate.models.stages.registry import StageSpec

RatioSemantics = Literal["stride", "ratio"]
Relevance = Literal["novelty", "query"]


@dataclass(frozen=True, kw_only=True)
class CondensationConfig:
    """How strongly the tokens of each tube are pooled.

    Args:
        light_ratio: ratio of the most relevant tubes, d1 of the paper, at least 1.
        strong_ratio: ratio of the others, d2, at least light_ratio.
        light_share: share of the tubes that are condensed lightly, rounded up, alpha, in [0, 1].
        ratio_semantics: "stride" pools areas of d x d cells; "ratio" leaves a d-th of the tokens: areas of d cells, as
            square as d allows and wider than high (1 x 2 for 2, 2 x 2 for 4).
        relevance: "novelty" how far a tube's mean is from that of the condensed tube before it; "query" how near it is
            to the query.
        key_tubes_only: condense only tubes that were encoded whole, every cell being stood for by a token of the same
            tube; the tokens of the others, which the gate chose one by one, stay.

    Raises:
        ConfigError: a value out of range, or light_ratio above strong_ratio.

    Source: KFFocus (arXiv 2508.08989) as third parties describe it: d1 = 2, d2 = 4, top-alpha frames by relevance.
        alpha was not recovered; its default, both readings of the ratio, novelty and key_tubes_only are ours.
    """

    light_ratio: int = 2
    strong_ratio: int = 4
    light_share: float = 0.25
    ratio_semantics: RatioSemantics = "stride"
    relevance: Relevance = "novelty"
    key_tubes_only: bool = True

    def __post_init__(self) -> None:
        for name, choices in (("ratio_semantics", RatioSemantics), ("relevance", Relevance)):
            if getattr(self, name) not in get_args(choices):
                raise ConfigError(
                    f"condensation.{name} is {getattr(self, name)!r}; it must be one of {get_args(choices)}."
                )
        if not 1 <= self.light_ratio <= self.strong_ratio:
            raise ConfigError(
                f"condensation.light_ratio is {self.light_ratio} and strong_ratio {self.strong_ratio}; they must be "
                "whole numbers with 1 <= light_ratio <= strong_ratio."
            )
        if not 0 <= self.light_share <= 1:
            raise ConfigError(f"condensation.light_share is {self.light_share}; it must be in [0, 1].")


STAGE = StageSpec(
    config=CondensationConfig,
    module="framegate.models.stages.condensation.condense:VariableCondensation",
    order=20,
)
