"""Settings of pruning after the tower."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from framegate.errors import ConfigError

Pruner = Literal["vidcom2"]


@dataclass(frozen=True, kw_only=True)
class PruningConfig:
    """Which tokens are dropped after the tower, down to the budget.

    Args:
        pruner: "vidcom2": tokens that look like their tube and like the video, more of them in tubes like the others.
        channel_share: share of the channels, those that vary least, by which tokens are compared, in (0, 1].
        uniqueness_temperature: of the softmax over tubes that shares the budget out, above 0; the smaller, the more
            goes to the tube that is least like the video.

    Raises:
        ConfigError: an unknown pruner, or a value out of range.

    Source: VidCom2 (arXiv 2505.14454); 0.5 and 0.01 are its released code's.
    """

    pruner: Pruner = "vidcom2"
    channel_share: float = 0.5
    uniqueness_temperature: float = 0.01

    def __post_init__(self) -> None:
        if self.pruner not in get_args(Pruner):
            raise ConfigError(f"pruning.pruner is {self.pruner!r}; it must be one of {get_args(Pruner)}.")
        if not 0 < self.channel_share <= 1:
            raise ConfigError(f"pruning.channel_share is {self.channel_share}; it must be in (0, 1].")
        if not 0 < self.uniqueness_temperature < float("inf"):
            raise ConfigError(
                f"pruning.uniqueness_temperature is {self.uniqueness_temperature}; it must be above 0."
            )
