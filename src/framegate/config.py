"""The one configuration of a front end: frozen, validated, made from a preset, a YAML file, a dict or keywords."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, make_dataclass, replace
from typing import Any, Literal, get_args

from framegate.errors import BudgetError, ConfigError
from framegate.kernels.backend import Backend, check_backend
from framegate.models.stages.registry import learning
from framegate.models.stages.registry import sections as stage_sections
from framegate.settings import laid_over, make, names, sections, spelled, unknown
from framegate.tokenizers.caps import Caps
from framegate.tokenizers.gate.config import Budget, GateConfig
from framegate.tokenizers.plan_config import PlanConfig
from framegate.tokenizers.samplers import FramesConfig
from framegate.tokenizers.timestamps import TimestampsConfig

Context = Literal["kept", "anchored"]
CONFIG_VERSION = 2
CONFIG_NAME, WEIGHTS_NAME = "front_end_config.json", "front_end.safetensors"
# a gate that drops, before a stage that merges, passes so many times the prompt's budget: GRT's stages share the work
MERGE_HEADROOM = 1.5

# one optional field per stage after the tower, in the order in which they run: adding a stage adds its section
_StageSections: Any = make_dataclass(
    "_StageSections",
    [(name, cls | None, field(default=None)) for name, cls in stage_sections().items()],
    frozen=True,
    kw_only=True,
)


@dataclass(frozen=True, kw_only=True)
class FrontEndConfig(_StageSections):
    """Everything that decides what a front end does.

    Beside the settings below every stage after the tower has a section under its own name, None where it does not run:
    apollo, scene_merge, condensation, select, spatiotemporal.

    Args:
        preset: name it started from, for the report.
        keep_ratio: share of the dense tokens that the language model reads, in (0, 1], met exactly; alone it sets the
            tower's share too, the same for presets with a gate (with `grt` half as much again).
        max_video_tokens: cap on the tokens of each video that the language model reads; with keep_ratio the smaller
            holds.
        tower_ratio: share of the dense cells that the tower encodes, in (0, 1], met exactly. Alone it leaves every cell
            that something shows a token where the gate refills.
        context: what a kept patch sees in the tower: "kept" the kept patches of its tube, "anchored" also the
            anchors of the skipped ones.
        backend: how framegate's own operations run: "auto" as Triton kernels on a GPU, in torch elsewhere; "torch";
            "triton", an error where kernels cannot run.
        frames: frame sampling.
        down_scaling: the budget is met by smaller frames, before they are cut; for towers of native resolution, alone
            (no gate, no later stage that reduces), and on the attached processor.
        gate: the gate, before the tower; None for none.
        timestamps: stamps of time in the prompt; None for none.
        caps: the most that a video may take before it is refused (`Caps`): frames, pixels, seconds, bytes.
        config_version: version of this layout.

    Raises:
        BudgetError: a ratio or max_video_tokens out of range, tower_ratio below 1 without a gate, or a prompt share
            above the tower's where nothing shows skipped cells again.
        ConfigError: an unknown context or backend, settings that exclude each other, a budget without a stage that
            could meet it, a stage that needs a budget without one, or a version of the future.
    """

    preset: str = "custom"
    keep_ratio: float | None = None
    max_video_tokens: int | None = None
    tower_ratio: float | None = None
    context: Context = "kept"
    backend: Backend = "auto"
    frames: FramesConfig = field(default_factory=FramesConfig)
    down_scaling: bool = False
    gate: GateConfig | None = None
    timestamps: TimestampsConfig | None = None
    caps: Caps = field(default_factory=Caps)
    config_version: int = CONFIG_VERSION

    def __post_init__(self) -> None:
        check_version(self.config_version)
        if self.context not in get_args(Context):
            raise ConfigError(f"context is {self.context!r}; it must be one of {get_args(Context)}.")
        check_backend(self.backend)
        if self.down_scaling and (self.gate is not None or self.reduces_after_tower):
            raise ConfigError(
                "down_scaling spends the whole budget on the size of frames: set gate, scene_merge, condensation and "
                "select to None, or down_scaling to False."
            )
        learn = self._learning
        if len(learn) > 1:
            raise ConfigError(
                f"{' and '.join(learn)} both learn, and a front end keeps the weights of one: set one of them to None."
            )
        self._check_ranges()
        self._check_budgets()

    def _check_ranges(self) -> None:
        for name in ("keep_ratio", "tower_ratio"):
            ratio = getattr(self, name)
            if ratio is not None and not 0 < ratio <= 1:
                raise BudgetError(f"{name} is {ratio}; it must be in (0, 1], where 1 keeps everything.")
        if self.max_video_tokens is not None and self.max_video_tokens < 1:
            raise BudgetError(
                f"max_video_tokens is {self.max_video_tokens}; each video needs at least 1 token."
            )

    def _check_budgets(self) -> None:
        keep, tower = self.keep_ratio, self.tower_ratio
        if tower is not None and tower < 1 and self.gate is None:
            raise BudgetError(
                f"tower_ratio is {tower}, and preset {self.preset!r} has no gate that could skip cells: set keep_ratio "
                "alone, or use preset 'framegate'."
            )
        if tower is not None and tower < 1 and self.reuses:
            raise BudgetError(
                f"tower_ratio is {tower}, and gate.mode 'reuse' of preset {self.preset!r} sends every cell through the "
                "tower: set keep_ratio alone, or gate.mode 'drop'."
            )
        shows_again = self.gate is not None and (self.gate.refill or self.reuses)
        if tower is not None and keep is not None and keep > tower and not shows_again:
            raise BudgetError(
                f"keep_ratio {keep} is above tower_ratio {tower}, and skipped cells have no token here: set "
                "gate.refill to true, or keep_ratio to at most tower_ratio."
            )
        if keep is None and self.max_video_tokens is None and self._needs_budget is not None:
            raise ConfigError(
                f"{self._needs_budget} goes by a budget alone: set keep_ratio, for example 0.25, or max_video_tokens."
            )
        asked = [
            f"{name}={value}"
            for name, value in (("keep_ratio", keep), ("max_video_tokens", self.max_video_tokens))
        ]
        asked = [text for text in asked if not text.endswith("=None")]
        reduces = keep not in (None, 1.0) or self.max_video_tokens is not None
        if reduces and self.gate is None and not self.reduces_after_tower and not self.down_scaling:
            raise ConfigError(
                f"preset {self.preset!r} has no stage that drops tokens, so it cannot meet {', '.join(asked)}; use "
                "preset 'framegate'."
            )

    @property
    def _needs_budget(self) -> str | None:
        """What cannot decide without a budget; None where everything can."""
        if self.gate is not None and not self.gate.has_threshold and self.tower_ratio is None:
            return f"gate.rule {self.gate.rule!r}"
        if self.select is not None and self.gate is None:
            return f"select by {self.select.select_rule!r} without a gate"
        return "down_scaling" if self.down_scaling else None

    @property
    def _learning(self) -> list[str]:
        return [name for name in learning() if getattr(self, name) is not None]

    @property
    def learning(self) -> str | None:
        """Name of the stage that learns, None for none."""
        return next(iter(self._learning), None)

    @property
    def is_identity(self) -> bool:
        """True when nothing can be reduced, so that every stage that reduces stands aside."""
        whole = self.keep_ratio == 1.0 and self.tower_ratio in (None, 1.0)
        if whole and self.max_video_tokens is None:
            return True
        return self.gate is None and not self.reduces_after_tower and not self.down_scaling

    @property
    def gates(self) -> bool:
        """True when cells may be skipped before the tower."""
        return self.gate is not None and not self.is_identity and self.tower_ratio != 1.0

    @property
    def refills(self) -> bool:
        """True when skipped cells are shown again after the tower, by their anchors' features."""
        return self.gates and self.gate is not None and self.gate.refill

    @property
    def reuses(self) -> bool:
        """True when skipped cells keep a token and take their anchor's patch embedding."""
        return self.gate is not None and self.gate.mode == "reuse"

    @property
    def scales_frames(self) -> bool:
        """True when frames are made smaller before they are cut."""
        return self.down_scaling and not self.is_identity

    @property
    def budget(self) -> Budget:
        """What the language model may read of a video."""
        return Budget(keep_ratio=self.keep_ratio, max_tokens=self.max_video_tokens)

    @property
    def follows_gate(self) -> bool:
        """True where no share is set: the gate goes by its threshold, and the prompt reads as much as was encoded."""
        return self.select is not None and self.gates and self.keep_ratio is None and self.tower_ratio is None

    def prompt_target(self, *, dense: int, encoded: int, tubes: int) -> int | None:
        """Say how many tokens of a video the language model may read, None where nothing limits it.

        Args:
            dense: cells of the video.
            encoded: cells that the tower encodes.
            tubes: of the video.

        Raises:
            BudgetError: keep_ratio is less than one token of the video.
        """
        if self.is_identity:
            return None
        if self.follows_gate:
            assert self.select is not None
            return min(max(encoded, self.select.min_tokens_per_tube * tubes), self.budget.most(dense))
        limited = self.keep_ratio is not None or self.max_video_tokens is not None
        return self.budget.most(dense) if limited else None

    @property
    def tower_budget(self) -> Budget:
        """What the tower may encode of a video, by the rulings on shares.

        tower_ratio where it is set; else the prompt's budget, half as much again where a dropping gate feeds a stage
        that merges; none where "reuse" encodes every row anyway, so that the gate goes by its threshold.
        """
        if self.down_scaling or self.gate is None:
            return self.budget
        if self.tower_ratio is not None:
            return Budget(keep_ratio=self.tower_ratio)
        if self.reuses and self.gate.has_threshold:
            return Budget()
        merges = self.scene_merge is not None or self.condensation is not None
        headroom = MERGE_HEADROOM if merges and not self.gate.refill else 1.0
        ratio, cap = self.keep_ratio, self.max_video_tokens
        return Budget(
            keep_ratio=None if ratio is None else min(1.0, ratio * headroom),
            max_tokens=None if cap is None else math.floor(cap * headroom),
        )

    @property
    def plan(self) -> PlanConfig:
        """What decides on frames and cells, before the tower; all that samplers, gate and processor read."""
        return PlanConfig(
            preset=self.preset,
            frames=self.frames,
            gate=self.gate if self.gates else None,
            budget=self.tower_budget,
            prompt=self.budget,
            down_scaling=self.scales_frames,
            timestamps=self.timestamps,
            caps=self.caps,
            later_stages=() if self.is_identity else self._reducing,
            with_shares=self.plan_at,
        )

    def plan_at(self, **shares: float) -> PlanConfig:
        """What `plan` is for a call that sets its own keep_ratio or tower_ratio."""
        return replace(self.override(**shares).plan, shares=shares)

    @property
    def _reducing(self) -> tuple[str, ...]:
        """Names of the stages switched on that may make fewer tokens."""
        return tuple(name for name in stage_sections(reducing=True) if getattr(self, name) is not None)

    @property
    def reduces_after_tower(self) -> bool:
        """True when a stage after the tower may make fewer tokens."""
        return bool(self._reducing)

    def to_dict(self) -> dict[str, Any]:
        """Spell the configuration as plain nested dicts, ready for YAML or JSON."""
        return spelled(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FrontEndConfig:
        """Make a configuration from nested dicts.

        Args:
            values: keys are field names; sections ("frames", "gate", ...) hold dicts of their own.

        Returns:
            The validated configuration.

        Raises:
            ConfigError: an unknown key (the message names the nearest one), a value of the wrong kind, or a version of
                the future.
        """
        # first: a newer version may hold keys that are unknown here
        check_version(values.get("config_version", CONFIG_VERSION))
        return make(cls, values)

    def override(self, **changes: Any) -> FrontEndConfig:
        """Return a copy with fields replaced, those of the sections by their own names.

        Args:
            changes: field names of this class or of any section, with new values; a section itself takes a dict.

        Returns:
            The validated copy.

        Raises:
            ConfigError: an unknown name (the message names the nearest one), or a gate setting without a gate.
        """
        values = self.to_dict()
        flat: dict[str, dict[str, Any]] = {}
        for name, value in changes.items():
            section = _section_of(name)
            if section is not None:
                flat.setdefault(section, {})[name] = value
            elif name in SECTIONS and isinstance(value, Mapping):
                values[name] = laid_over(SECTIONS[name], values[name], value)
            else:
                values[name] = value
        for section, settings in flat.items():
            if values[section] is None:
                name, value = next(iter(settings.items()))
                raise ConfigError(
                    f"{name}={value!r} belongs to the {section}, which preset {self.preset!r} does not have; "
                    f"switch it on with {section}={{...}}."
                )
            values[section] = laid_over(SECTIONS[section], values[section], settings)
        return type(self).from_dict(values)


# name -> class: the sections whose settings may be spelled flat
SECTIONS = sections(FrontEndConfig)


def check_version(version: Any) -> None:
    """Refuse the version of a configuration that this framegate cannot read.

    Raises:
        ConfigError: a version of the future, or none at all.
    """
    if not isinstance(version, int) or not 1 <= version <= CONFIG_VERSION:
        raise ConfigError(
            f"config_version is {version!r}; this framegate reads 1 to {CONFIG_VERSION}. Update framegate to open it."
        )


def _section_of(name: str) -> str | None:
    """The section that owns a field, None for a field of the top level."""
    own = names(FrontEndConfig)
    if name in own:
        return None
    for section, cls in SECTIONS.items():
        if name in names(cls):
            return section
    raise unknown(name, own.union(*map(names, SECTIONS.values())))
