"""Settings of condensation, validated when they are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from framegate.errors import ConfigError
from framegate.models.stages.registry import StageSpec
from framegate.settings import Count, Range, check

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

    light_ratio: Count = 2
    strong_ratio: Count = 4
    light_share: Annotated[float, Range(least=0, most=1)] = 0.25
    ratio_semantics: RatioSemantics = "stride"
    relevance: Relevance = "novelty"
    key_tubes_only: bool = True

    def __post_init__(self) -> None:
        check(self, "condensation")
        if self.light_ratio > self.strong_ratio:
            raise ConfigError(
                f"condensation.light_ratio is {self.light_ratio} and strong_ratio {self.strong_ratio}; the light one "
                "must be at most the strong one."
            )


STAGE = StageSpec(
    config=CondensationConfig,
    module="framegate.models.stages.condensation.condense:VariableCondensation",
    order=20,
)
