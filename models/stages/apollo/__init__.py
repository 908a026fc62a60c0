"""Settings of Apollo's resampler as a stage, validated when they are made."""

from __future__ import annotations

from dataclasses import dataclass

from framegate.errors import ConfigError
from framegate.models.stages.registry import StageSpec
from framegate.settings import Count, check

# of the stage, and of its module on a model: PEFT's modules_to_save finds it by that
APOLLO_NAME = "apollo"


@dataclass(frozen=True, kw_only=True)
class ApolloConfig:
    """How the tokens of each clip are resampled by learned queries.

    Args:
        queries: tokens of a clip, at most; a budget that asks for fewer uses the first of them.
        clip_tubes: tubes of a clip; None for one clip a video, as sampler "apollo" gives them, each with its time.
        resampler_depth: blocks of attention.
        resampler_heads: heads of the attention.
        resampler_kv_heads: heads of keys and values; resampler_heads is a multiple.
        resampler_head_dim: width of a head.
        pooled_start: each token is the mean of its run of the clip's tokens, to which the resampler adds what it learns
            through a gate that starts at 0; False gives what the resampler says alone, as the paper has it, of which
            nothing can be read before it is trained.

    Raises:
        ConfigError: a value out of range, or heads that do not divide.

    Source: Apollo (arXiv 2412.10360); clip_tubes, pooled_start and fewer queries: ours.
    """

    queries: Count = 128
    clip_tubes: Count | None = None
    resampler_depth: Count = 1
    resampler_heads: Count = 16
    resampler_kv_heads: Count = 4
    resampler_head_dim: Count = 96
    pooled_start: bool = True

    def __post_init__(self) -> None:
        check(self, APOLLO_NAME)
        if self.resampler_heads % self.resampler_kv_heads:
            raise ConfigError(
                f"apollo.resampler_kv_heads is {self.resampler_kv_heads}; it must divide resampler_heads, "
                f"{self.resampler_heads}."
            )


STAGE = StageSpec(
    config=ApolloConfig,
    module="framegate.models.stages.apollo.resample:ApolloStage",
    order=5,
    learns="framegate.models.stages.apollo.resample:load_apollo",
)
