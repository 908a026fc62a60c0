"""What a session is opened with, validated when it is made; importing it loads no torch."""

from __future__ import annotations

from dataclasses import dataclass

from framegate.settings import Count, Positive, check


@dataclass(frozen=True, kw_only=True)
class SessionSettings:
    """The options of `framegate.open_session`, which explains them.

    Raises:
        ConfigError: a value of another kind or out of range.
    """

    fps: Positive
    width_px: Count | None
    max_video_tokens: Count
    past_tokens_per_tube: Count | None
    horizon_seconds: Positive
    refresh_seconds: Positive | None
    reconnect_seconds: Positive
    background: bool

    def __post_init__(self) -> None:
        check(self, "open_session")
