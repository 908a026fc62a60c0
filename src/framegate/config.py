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
from framegate.tokenizers.motion_gate.config import MotionGateConfig

Context = Literal["kept", "anchored"]


@dataclass(frozen=True, kw_only=True)
class FramesConfig:
    """Which frames are taken from a file or a live source (frames the caller sampled are all used).

    Args:
        sampler: registry key of the sampler, "fps" or "uniform".
        fps: frames per second for the "fps" sampler, above 0.
        num_frames: number of frames for the "uniform" sampler.
        max_frames: no sampler takes more than this; None for no limit.

    Raises:
        ConfigError: a value out of range, or "uniform" without num_frames.
    """

    sampler: str = "fps"
    fps: float = 2.0
    num_frames: int | None = None
    max_frames: int | None = 768

    def __post_init__(self) -> None:
        if not (self.fps > 0 and math.isfinite(self.fps)):
            raise ConfigError(f"frames.fps is {self.fps}; it must be above 0.")
        for name in ("num_frames", "max_frames"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"frames.{name} is {value}; it must be at least 1, or None.")
        if self.sampler == "uniform" and self.num_frames is None:
            raise ConfigError('frames.sampler "uniform" needs frames.num_frames, for example num_frames=32.')


@dataclass(frozen=True, kw_only=True)
class FrontEndConfig:
    """Everything that decides what a front end does.

    Args:
        preset: name it started from, for the report.
        keep_ratio: share of the dense tokens to keep, in (0, 1], met exactly; 1.0 is the identity.
        max_video_tokens: cap on the tokens of each video; with keep_ratio the smaller of the two holds.
        context: what a kept patch sees in the tower: "kept" the kept patches of its tube, "anchored" also the
            anchors of the skipped ones.
        frames: frame sampling.
        gate: the motion gate, None for none.

    Raises:
        BudgetError: keep_ratio or max_video_tokens out of range.
        ConfigError: an unknown context, or a budget without a stage that could meet it.
    """

    preset: str = "custom"
    keep_ratio: float | None = None
    max_video_tokens: int | None = None
    context: Context = "kept"
    frames: FramesConfig = field(default_factory=FramesConfig)
    gate: MotionGateConfig | None = None

    def __post_init__(self) -> None:
        if self.keep_ratio is not None and not 0 < self.keep_ratio <= 1:
            raise BudgetError(
                f"keep_ratio is {self.keep_ratio}; it must be in (0, 1], where 1 keeps everything."
            )
        if self.max_video_tokens is not None and self.max_video_tokens < 1:
            raise BudgetError(
                f"max_video_tokens is {self.max_video_tokens}; each video needs at least 1 token."
            )
        if self.context not in get_args(Context):
            raise ConfigError(f"context is {self.context!r}; it must be one of {get_args(Context)}.")
        reduces = self.keep_ratio not in (None, 1.0) or self.max_video_tokens is not None
        if reduces and self.gate is None:
            raise ConfigError(
                f"preset {self.preset!r} has no stage that drops tokens, so it cannot meet "
                f"keep_ratio={self.keep_ratio}, max_video_tokens={self.max_video_tokens}; use preset 'gate'."
            )

    @property
    def is_identity(self) -> bool:
        """True when nothing can be reduced, so that every stage stands aside."""
        return self.gate is None or (self.keep_ratio == 1.0 and self.max_video_tokens is None)

    def to_dict(self) -> dict[str, Any]:
        """Spell the configuration as plain nested dicts, ready for YAML or JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FrontEndConfig:
        """Make a configuration from nested dicts.

        Args:
            values: keys are field names; "frames" and "gate" hold dicts of their own.

        Returns:
            The validated configuration.

        Raises:
            ConfigError: an unknown key (the message names the nearest one) or a section that is no mapping.
        """
        known = dict(values)
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
            changes: field names of this class, of FramesConfig or of MotionGateConfig, with new values.

        Returns:
            The validated copy.

        Raises:
            ConfigError: an unknown name (the message names the nearest one), or a gate setting without a gate.
        """
        values = self.to_dict()
        for name, value in changes.items():
            section = _section_of(name)
            if section is None:
                values[name] = value
            elif values[section] is None:
                raise ConfigError(
                    f"{name}={value!r} belongs to the {section}, which preset {self.preset!r} does not have."
                )
            else:
                values[section][name] = value
        return type(self).from_dict(values)


_SECTIONS: dict[str, type[FramesConfig] | type[MotionGateConfig]] = {
    "frames": FramesConfig,
    "gate": MotionGateConfig,
}


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
