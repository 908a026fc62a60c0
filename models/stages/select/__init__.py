"""Settings of selection, validated when they are made; importing it loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from framegate.errors import ConfigError, nearest
from framegate.models.stages.registry import StageSpec
from framegate.settings import check


def select_rules() -> tuple[str, ...]:
    """Name the rules: the files of the folder `rules`."""
    return tuple(sorted(path.stem for path in (Path(__file__).parent / "rules").glob("[!_]*.py")))


@dataclass(frozen=True, kw_only=True)
class SelectConfig:
    """Which tokens of the filled grid the language model reads.

    Args:
        select_rule: a file of the folder `rules`: "equal_shares", "change_floor", "latest"; or a rival's: "vidcom2",
            "random".
        min_tokens_per_tube: fewest tokens of a tube, 0 or 1, as far as the budget goes.
        use_query: let the question count too, for rules that can ("change_floor"); it ends prefix caching across
            questions.

    Raises:
        ConfigError: an unknown rule, or a value out of range.
    """

    select_rule: str = "equal_shares"
    min_tokens_per_tube: Literal[0, 1] = 0
    use_query: bool = False

    def __post_init__(self) -> None:
        check(self, "select")
        if self.select_rule not in select_rules():
            raise ConfigError(
                f"Unknown select.select_rule {self.select_rule!r}. {nearest(str(self.select_rule), select_rules())}"
            )


STAGE = StageSpec(config=SelectConfig, module="framegate.models.stages.select.stage:TokenSelect", order=30)
