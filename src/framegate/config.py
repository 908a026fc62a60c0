"""The one configuration of a front end: frozen, validated, made from a preset, a YAML file, a dict or keywords."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from types import UnionType
from typing import Any, Literal, get_args, get_type_hints

from framegate.errors import BudgetError, ConfigError, nearest
from framegate.kernels.backend import Backend, check_backend
from framegate.models.condensation.config import CondensationConfig
from framegate.models.pruning.config import PruningConfig
from framegate.models.scene_merge.config import SceneMergeConfig
from framegate.models.spatiotemporal.config import SpatiotemporalConfig
from framegate.tokenizers.gate.budget import Budget
from framegate.tokenizers.gate.config import MotionGateConfig
from framegate.tokenizers.plan_config import PlanConfig
from framegate.tokenizers.samplers.config import FramesConfig
from framegate.tokenizers.timestamps.config import TimestampsConfig

Context = Literal["kept", "anchored"]
CONFIG_VERSION = 1
CONFIG_NAME, WEIGHTS_NAME = "front_end_config.json", "front_end.safetensors"


@dataclass(frozen=True, kw_only=True)
class FrontEndConfig:
    """Everything that decides what a front end does.

    Args:
        preset: name it started from, for the report.
        keep_ratio: share of the dense tokens to keep, in (0, 1], met exactly; 1.0 is the identity of all that reduces.
        max_video_tokens: cap on the tokens of each video; with keep_ratio the smaller of the two holds.
        gate_headroom: with a budget and a stage that reduces after the tower, the gate passes so many times the
            budget (1.0 or more) and the later stages bring it down.
        context: what a kept patch sees in the tower: "kept" the kept patches of its tube, "anchored" also the
            anchors of the skipped ones.
        backend: how framegate's own operations run: "auto" as Triton kernels on a GPU, in torch elsewhere; "torch";
            "triton", an error where kernels cannot run.
        frames: frame sampling.
        down_scaling: the budget is met by smaller frames, before they are cut; for towers of native resolution, alone
            (no gate, no later stage that reduces), and on the attached processor.
        gate: the gate, before the tower; None for none.
        scene_merge: merging of scenes, after the tower; None for none.
        condensation: pooling per tube, after the tower; None for none.
        pruning: tokens dropped by what they show, after the tower; None for none.
        spatiotemporal: the trainable residual module; None for none.
        timestamps: stamps of time in the prompt; None for none.
        config_version: version of this layout.

    Raises:
        BudgetError: keep_ratio or max_video_tokens out of range.
        ConfigError: an unknown context or backend, settings that exclude each other, a budget without a stage that
            could meet it, a stage that needs a budget without one, or a version of the future.
    """

    preset: str = "custom"
    keep_ratio: float | None = None
    max_video_tokens: int | None = None
    gate_headroom: float = 1.0
    context: Context = "kept"
    backend: Backend = "auto"
    frames: FramesConfig = field(default_factory=FramesConfig)
    down_scaling: bool = False
    gate: MotionGateConfig | None = None
    scene_merge: SceneMergeConfig | None = None
    condensation: CondensationConfig | None = None
    pruning: PruningConfig | None = None
    spatiotemporal: SpatiotemporalConfig | None = None
    timestamps: TimestampsConfig | None = None
    config_version: int = CONFIG_VERSION

    def __post_init__(self) -> None:
        check_version(self.config_version)
        if self.context not in get_args(Context):
            raise ConfigError(f"context is {self.context!r}; it must be one of {get_args(Context)}.")
        check_backend(self.backend)
        if self.context == "anchored" and self.gate is not None and self.gate.scales != (1,):
            raise ConfigError("context 'anchored' needs one resolution: set scales=(1,), or context='kept'.")
        if not (self.gate_headroom >= 1 and math.isfinite(self.gate_headroom)):
            raise ConfigError(f"gate_headroom is {self.gate_headroom}; it must be 1.0 or more.")
        if self.down_scaling and (self.gate is not None or self.reduces_after_tower):
            raise ConfigError(
                "down_scaling spends the whole budget on the size of frames: set gate, scene_merge, condensation and "
                "pruning to None, or down_scaling to False."
            )
        self._check_budget()

    def _check_budget(self) -> None:
        if self.keep_ratio is not None and not 0 < self.keep_ratio <= 1:
            raise BudgetError(
                f"keep_ratio is {self.keep_ratio}; it must be in (0, 1], where 1 keeps everything."
            )
        if self.max_video_tokens is not None and self.max_video_tokens < 1:
            raise BudgetError(
                f"max_video_tokens is {self.max_video_tokens}; each video needs at least 1 token."
            )
        if self.keep_ratio is None and self.max_video_tokens is None and self._needs_budget is not None:
            raise ConfigError(
                f"{self._needs_budget} goes by a budget alone: set keep_ratio, for example 0.25, or max_video_tokens."
            )
        reduces = self.keep_ratio not in (None, 1.0) or self.max_video_tokens is not None
        if reduces and self.gate is None and not self.reduces_after_tower and not self.down_scaling:
            raise ConfigError(
                f"preset {self.preset!r} has no stage that drops tokens, so it cannot meet "
                f"keep_ratio={self.keep_ratio}, max_video_tokens={self.max_video_tokens}; use preset 'framegate'."
            )

    @property
    def _needs_budget(self) -> str | None:
        """What cannot decide without a budget; None where everything can."""
        if self.gate is not None and not self.gate.has_threshold:
            return f"gate.rule {self.gate.rule!r}"
        if self.pruning is not None:
            return f"pruning by {self.pruning.pruner!r}"
        return "down_scaling" if self.down_scaling else None

    @property
    def is_identity(self) -> bool:
        """True when nothing can be reduced, so that every stage that reduces stands aside."""
        if self.keep_ratio == 1.0 and self.max_video_tokens is None:
            return True
        return self.gate is None and not self.reduces_after_tower and not self.down_scaling

    @property
    def gates(self) -> bool:
        """True when cells may be skipped before the tower."""
        return self.gate is not None and not self.is_identity

    @property
    def scales_frames(self) -> bool:
        """True when frames are made smaller before they are cut."""
        return self.down_scaling and not self.is_identity

    @property
    def budget(self) -> Budget:
        """What a video may cost the language model in the end."""
        return Budget(keep_ratio=self.keep_ratio, max_tokens=self.max_video_tokens)

    @property
    def tower_budget(self) -> Budget:
        """What the gate may pass.

        More than in the end where later stages reduce too; without limit where it saves patch embeddings ("reuse") and
        the later stages alone decide on tokens.
        """
        if not self.reduces_after_tower:
            return self.budget
        if self.reuses:
            return Budget()
        ratio, cap, headroom = self.keep_ratio, self.max_video_tokens, self.gate_headroom
        return Budget(
            keep_ratio=None if ratio is None else min(1.0, ratio * headroom),
            max_tokens=None if cap is None else math.floor(cap * headroom),
        )

    @property
    def plan(self) -> PlanConfig:
        """What decides on frames and cells, before the tower; all that samplers, gate and processor read."""
        stages = () if self.is_identity else ("scene_merge", "condensation", "pruning")
        return PlanConfig(
            preset=self.preset,
            frames=self.frames,
            gate=self.gate if self.gates else None,
            budget=self.tower_budget,
            down_scaling=self.scales_frames,
            timestamps=self.timestamps,
            later_stages=tuple(name for name in stages if getattr(self, name) is not None),
        )

    @property
    def reuses(self) -> bool:
        """True when skipped cells keep a token and take their anchor's patch embedding."""
        return self.gate is not None and self.gate.mode == "reuse"

    @property
    def reduces_after_tower(self) -> bool:
        """True when a stage after the tower may make fewer tokens."""
        return any(stage is not None for stage in (self.scene_merge, self.condensation, self.pruning))

    def to_dict(self) -> dict[str, Any]:
        """Spell the configuration as plain nested dicts, ready for YAML or JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FrontEndConfig:
        """Make a configuration from nested dicts.

        Args:
            values: keys are field names; sections ("frames", "gate", ...) hold dicts of their own.

        Returns:
            The validated configuration.

        Raises:
            ConfigError: an unknown key (the message names the nearest one), a section that is no mapping, or a version
                of the future.
        """
        known = dict(values)
        # first: a newer version may hold keys that are unknown here
        check_version(known.get("config_version", CONFIG_VERSION))
        for name, section in _SECTIONS.items():
            if isinstance(known.get(name), Mapping):
                known[name] = section(**_checked(section, known[name], f"{name}."))
            elif known.get(name) is not None and not isinstance(known[name], section):
                raise ConfigError(
                    f"{name} is {known[name]!r}; it must be a mapping of {', '.join(sorted(_names(section)))}."
                )
        return cls(**_checked(cls, known, ""))

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
        for name, value in changes.items():
            section = _section_of(name)
            if section is None:
                merges = name in _SECTIONS and isinstance(value, Mapping)
                values[name] = (values[name] or {}) | dict(value) if merges else value
            elif values[section] is None:
                raise ConfigError(
                    f"{name}={value!r} belongs to the {section}, which preset {self.preset!r} does not have; "
                    f"switch it on with {section}={{...}}."
                )
            else:
                values[section][name] = value
        return type(self).from_dict(values)


_SECTIONS: dict[str, type[Any]] = {
    "frames": FramesConfig,
    "gate": MotionGateConfig,
    "scene_merge": SceneMergeConfig,
    "condensation": CondensationConfig,
    "pruning": PruningConfig,
    "spatiotemporal": SpatiotemporalConfig,
    "timestamps": TimestampsConfig,
}
SECTION_NAMES = tuple(_SECTIONS)


def check_version(version: Any) -> None:
    """Refuse the version of a configuration that this framegate cannot read.

    Raises:
        ConfigError: a version of the future, or none at all.
    """
    if not isinstance(version, int) or not 1 <= version <= CONFIG_VERSION:
        raise ConfigError(
            f"config_version is {version!r}; this framegate reads 1 to {CONFIG_VERSION}. Update framegate to open it."
        )


def _names(section: type) -> set[str]:
    return {f.name for f in dataclasses.fields(section)}


def _section_of(name: str) -> str | None:
    """The section that owns a field, None for a field of the top level."""
    if name in _names(FrontEndConfig):
        return None
    for section, cls in _SECTIONS.items():
        if name in _names(cls):
            return section
    everything = _names(FrontEndConfig).union(*map(_names, _SECTIONS.values()))
    raise ConfigError(f"Unknown setting {name!r}. {nearest(name, everything)}")


def _checked(section: type, values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    for name in values:
        if name not in _names(section):
            raise ConfigError(
                f"Unknown setting {prefix + str(name)!r}. {nearest(str(name), _names(section))}"
            )
    hints = get_type_hints(section)
    for name, value in values.items():
        if not _fits(value, hints[name]):
            words = str(getattr(hints[name], "__name__", hints[name])).replace("|", "or")
            raise ConfigError(f"{prefix}{name} is {value!r}; it must be {words}.")
    return dict(values)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value has the plain type a setting asks for; choices and sections check themselves."""
    kinds = {int: Integral, float: Real, str: str, bool: bool, type(None): type(None)}
    options = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    if not all(option in kinds for option in options):
        return True
    wanted = [kinds[option] for option in options]
    # True is an Integral, and never meant as a number
    return isinstance(value, tuple(wanted)) and (not isinstance(value, bool) or bool in wanted)
