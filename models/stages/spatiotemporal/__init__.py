"""Settings of the spatiotemporal module, validated when they are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from framegate.models.stages.registry import StageSpec
from framegate.settings import Count, Range, check

# of the stage, and of its module on a model: PEFT's modules_to_save finds it by that
SPATIOTEMPORAL_NAME = "spatiotemporal"


@dataclass(frozen=True, kw_only=True)
class SpatiotemporalConfig:
    """Size of the spatiotemporal module.

    Args:
        time_heads: attention heads across tubes, at least 1; the language model's width must be a multiple.
        max_side: rows and columns that have an embedding of their own, at least 2; longer sides spread the embeddings
            evenly over their cells and interpolate.

    Raises:
        ConfigError: a value out of range.

    Source: ours; KFFocus (arXiv 2508.08989) names the module, and its details were not recovered.
    """

    time_heads: Count = 8
    max_side: Annotated[int, Range(least=2)] = 64

    def __post_init__(self) -> None:
        check(self, SPATIOTEMPORAL_NAME)


STAGE = StageSpec(
    config=SpatiotemporalConfig,
    module="framegate.models.stages.spatiotemporal.module:SpatiotemporalModule",
    order=50,
    reduces=False,
    learns="framegate.models.stages.spatiotemporal.module:load_spatiotemporal",
)
