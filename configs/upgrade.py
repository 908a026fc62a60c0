"""What an older framegate saved, brought up to today's version of the configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from framegate.config import CONFIG_VERSION, MERGE_HEADROOM, check_version
from framegate.settings import saved_settings_of
from framegate.tokenizers.samplers import DEFAULT_SAMPLER, sampler

Values = dict[str, Any]

# version 1 held the settings of every sampler, whichever was chosen
_FRAMES_OF_1 = {"fps", "num_frames", "max_frames", "coverage", "keyframe_source", "min_gap_seconds"}
_PRUNING_OF_1 = {"channel_share": 0.5, "uniqueness_temperature": 0.01}
_SCALES_OF_1 = [1]


def upgrade(values: Mapping[str, Any]) -> tuple[Values, tuple[str, ...]]:
    """Bring what a front end saved up to today's version, with a note for each setting whose meaning went.

    Values without a `config_version` are of today; one of the future raises ConfigError.
    """
    version = values.get("config_version", CONFIG_VERSION)
    # first: a newer version may hold keys and sections that are unknown here
    check_version(version)
    found, notes = dict(values), list[str]()
    for old in range(version, CONFIG_VERSION):
        notes += UPGRADES[old](found)
    return found | {"config_version": CONFIG_VERSION}, tuple(notes)


def _from_1(values: Values) -> list[str]:
    """Two budgets for one and a headroom, pruning a rule of select, a sampler's settings its own, areas gone."""
    return [*_headroom(values), *_pruning(values), *_frames(values), *_gate(values)]


def _headroom(values: Values) -> list[str]:
    headroom = values.pop("gate_headroom", 1.0)
    gate, keep = values.get("gate"), values.get("keep_ratio")
    merges = bool(values.get("scene_merge") or values.get("condensation"))
    if not gate or gate.get("mode") == "reuse" or not (merges or values.get("pruning")):
        return []
    if headroom == (MERGE_HEADROOM if merges else 1.0):
        return []
    if keep is None:
        return [f"gate_headroom {headroom} is gone; tower_ratio sets what the tower encodes."]
    values["tower_ratio"] = min(1.0, keep * headroom)
    return [f"gate_headroom {headroom} is now tower_ratio {values['tower_ratio']:g}."]


def _pruning(values: Values) -> list[str]:
    pruning = values.pop("pruning", None)
    if pruning is None:
        return []
    values["select"] = {"select_rule": pruning.get("pruner", "vidcom2")}
    return [
        f"pruning.{name} {pruning[name]} is gone; the rule's own is {default}."
        for name, default in _PRUNING_OF_1.items()
        if pruning.get(name, default) != default
    ]


def _frames(values: Values) -> list[str]:
    frames = values.get("frames")
    if isinstance(frames, Mapping):
        unread = _FRAMES_OF_1.difference(saved_settings_of(sampler(frames.get("sampler", DEFAULT_SAMPLER))))
        values["frames"] = {name: value for name, value in frames.items() if name not in unread}
    return []


def _gate(values: Values) -> list[str]:
    gate = values.get("gate")
    if not isinstance(gate, Mapping):
        return []
    found = {("max_age_tubes" if name == "max_age" else name): value for name, value in gate.items()}
    scales = list(found.pop("scales", _SCALES_OF_1))
    values["gate"] = found
    if scales == _SCALES_OF_1:
        return []
    return [f"gate.scales {scales} is gone; every token stands for one cell."]


# version -> what brings values of that version to the next one, in place, and tells what went
UPGRADES: dict[int, Callable[[Values], list[str]]] = {1: _from_1}
