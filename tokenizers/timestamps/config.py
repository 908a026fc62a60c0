"""Settings of the timestamps, validated when they are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from framegate.settings import check

StampFormat = Literal["seconds", "clock"]


@dataclass(frozen=True, kw_only=True)
class TimestampsConfig:
    """How the time of a tube is written after its tokens.

    Args:
        stamp_format: "seconds" writes <12.3s>, "clock" <01:23> and, from an hour on, <01:02:03>.

    Raises:
        ConfigError: an unknown format.

    Source: DATE (arXiv 2509.09263), TIM; its released code writes seconds, and hours are ours.
    """

    stamp_format: StampFormat = "seconds"

    def __post_init__(self) -> None:
        check(self, "timestamps")
