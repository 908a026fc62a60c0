"""Presets and YAML files, read into the one configuration."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from framegate.config import CONFIG_NAME, WEIGHTS_NAME, FrontEndConfig
from framegate.configs.upgrade import upgrade
from framegate.errors import ConfigError, nearest

DEFAULT_PRESET = "framegate"
# libyaml where PyYAML was built with it: a tenth of the time
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def preset_names() -> list[str]:
    """List the presets that ship with the package.

    Returns:
        Their names, sorted.
    """
    folder = resources.files("framegate.configs") / "presets"
    return sorted(
        entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")
    )


def load_config(
    config: str | Path | Mapping[str, Any] | FrontEndConfig = DEFAULT_PRESET, /, **overrides: Any
) -> FrontEndConfig:
    """Read a configuration from whatever spelling the user has.

    Args:
        config: a preset's name, the path of a YAML file or of a folder that a front end was saved in, a dict, or a
            FrontEndConfig. Files and dicts are laid over the preset that their `preset` names, else over the default
            one; settings may stand in their section or flat. What an older framegate saved is brought up to date, with
            a warning for each setting whose meaning went.
        overrides: settings replaced by keyword, for example keep_ratio=0.25 or threshold=6.0.

    Returns:
        The validated configuration.

    Raises:
        ConfigError: no such preset or file, a YAML file that is no mapping, or an unknown key; the message names
            the nearest known one.
    """
    if isinstance(config, FrontEndConfig):
        return config.override(**overrides) if overrides else config
    if not isinstance(config, str | Path | Mapping):
        raise ConfigError(
            f"A configuration is a preset's name, a path, a dict or a FrontEndConfig, not {config!r}."
        )
    saved = _saved_file(config)
    if saved is not None:
        # what was saved is whole: today's default preset has no part in it
        found = FrontEndConfig.from_dict(_upgraded({"config_version": 1} | _read_yaml(saved), str(saved)))
    else:
        found = _over_preset(config if isinstance(config, Mapping) else _read_yaml(config))
    return found.override(**overrides)


def learned_weights(config: Any) -> Path | None:
    """Find the weights beside a saved configuration that learns, else None; ConfigError where they are gone."""
    saved = _saved_file(config)
    stage = None if saved is None else load_config(saved).learning
    if saved is None or stage is None:
        return None
    path = saved.parent / WEIGHTS_NAME
    if not path.is_file():
        raise ConfigError(
            f"{saved} has stage {stage!r}, which learns, and {path} with its weights is missing; copy the whole "
            "folder, or attach the configuration's preset to start anew."
        )
    return path


def _saved_file(config: Any) -> Path | None:
    """The file of a front end that was saved: that file itself, or the one in a folder."""
    if not isinstance(config, str | Path) or str(config) in preset_names():
        return None
    path = Path(config) / CONFIG_NAME if Path(config).is_dir() else Path(config)
    return path if path.name == CONFIG_NAME and path.is_file() else None


def _over_preset(values: Mapping[str, Any]) -> FrontEndConfig:
    """Lay settings over the preset that they name, or over the default one; sections may be partial or left out."""
    values = _upgraded(values, "The configuration")
    name = values.get("preset", DEFAULT_PRESET)
    base = FrontEndConfig.from_dict(_read_yaml(name if name in preset_names() else DEFAULT_PRESET))
    return base.override(**{str(key): value for key, value in values.items()})


def _upgraded(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    found, notes = upgrade(values)
    for note in notes:
        warnings.warn(f"{where} is of an older framegate: {note}", stacklevel=4)
    return found


def _read_yaml(name: str | Path) -> dict[str, Any]:
    if str(name) in preset_names():
        path: Any = resources.files("framegate.configs") / "presets" / f"{name}.yaml"
    elif Path(name).is_file():
        path = Path(name)
    else:
        raise ConfigError(
            f"{str(name)!r} is neither a preset, nor a YAML file, nor a folder with {CONFIG_NAME}. "
            f"{nearest(str(name), preset_names())}"
        )
    return read_mapping(path, "a configuration")


def read_mapping(path: Any, what: str) -> dict[str, Any]:
    """Read a YAML file that holds a mapping; ConfigError where it is no UTF-8 text, no YAML or no mapping."""
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _LOADER)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds {type(values).__name__}; {what} is a mapping of settings.")
    return values
