"""PlanConfig: what decides on a video before the tower: frames, cells and stamps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from framegate.errors import ConfigError
from framegate.tokenizers.caps import NO_CAPS, Caps
from framegate.tokenizers.gate.config import Budget, GateConfig
from framegate.tokenizers.samplers import FramesConfig
from framegate.tokenizers.timestamps import TimestampsConfig


@dataclass(frozen=True, kw_only=True)
class PlanConfig:
    """What samplers, gate and processor go by; `FrontEndConfig.plan` makes one.

    Args:
        preset: name for messages and reports.
        frames: which frames are taken from a file.
        gate: which cells are encoded; None where nothing is skipped.
        budget: what the tower may encode of each video.
        prompt: what the language model may read of it; for those who count tokens before the model does.
        down_scaling: the budget is met by smaller frames.
        timestamps: stamps of time in the prompt; None for none.
        later_stages: names of the stages after the tower that reduce further, for notes.
        shares: keep_ratio and tower_ratio that one call or one video asked for in place of the configuration's; they
            travel with the inputs, so that the model side follows.
        caps: the most that a video may take.
        with_shares: makes the plan's configuration for other shares, by keyword; None where nobody can say.
    """

    preset: str = "custom"
    frames: FramesConfig = field(default_factory=FramesConfig)
    gate: GateConfig | None = None
    budget: Budget = field(default_factory=Budget)
    prompt: Budget = field(default_factory=Budget)
    down_scaling: bool = False
    timestamps: TimestampsConfig | None = None
    later_stages: tuple[str, ...] = ()
    shares: Mapping[str, float] = field(default_factory=dict)
    caps: Caps = NO_CAPS
    with_shares: Callable[..., PlanConfig] | None = field(default=None, repr=False, compare=False)

    @property
    def judged_format(self) -> Literal["gray", "rgb24"]:
        """Pixels that decide on cells: luma, but for rules that compare colours."""
        return "rgb24" if self.gate is not None and self.gate.compares else "gray"

    @property
    def reduces_nothing(self) -> bool:
        """True when every cell reaches the language model: the identity."""
        return self.gate is None and not self.down_scaling and not self.later_stages

    @property
    def reuses(self) -> bool:
        """True when skipped cells keep a token and take their anchor's patch embedding."""
        return self.gate is not None and self.gate.mode == "reuse"

    @property
    def later_notes(self) -> tuple[str, ...]:
        """What a plan without a model says of the stages behind the tower's door, at which it ends."""
        limited = self.prompt.keep_ratio is not None or self.prompt.max_tokens is not None
        selects_all = self.later_stages == ("select",) and self.budget.keep_ratio is not None and not limited
        if not self.later_stages or selects_all:
            return ()
        verb = "reduces" if len(self.later_stages) == 1 else "reduce"
        named = " and ".join(self.later_stages)
        return (
            f"{named} {verb} further behind the tower, on its features: the plan ends at the tower's door",
        )

    def at(self, shares: Mapping[str, float]) -> PlanConfig:
        """Follow a call that asks for a keep_ratio or tower_ratio of its own.

        Raises:
            ConfigError: shares where no configuration stands behind that could say what follows from them.
            BudgetError: shares out of range.
        """
        if not shares:
            return self
        if self.with_shares is None:
            raise ConfigError(
                f"{', '.join(shares)} cannot be set here: attach a front end to the processor first, with "
                "framegate.attach(model, processor) or framegate.AutoProcessor."
            )
        return replace(self.with_shares(**shares), caps=self.caps)
