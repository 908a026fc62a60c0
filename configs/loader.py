"""Presets and YAML files, read into the one configuration."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from framegate.config import CONFIG_NAME, WEIGHTS_NAME, FrontEndConfig, check_version
from framegate.errors import ConfigError, nearest

DEFAULT_PRESET = "framegate"


def preset_names() -> list[str]:
    """List the presets that ship with the package.

    Returns:
        Their names, sorted.

    Source: ours.
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
            one; settings may stand in their section or flat.
        overrides: settings replaced by keyword, for example keep_ratio=0.25 or threshold=6.0.

    Returns:
        The validated configuration.

    Raises:
        ConfigError: no such preset or file, a YAML file that is no mapping, or an unknown key; the message names
            the nearest known one.

    Source: ours.
    """
    if not isinstance(config, str | Path | Mapping | FrontEndConfig):
        raise ConfigError(
            f"A configuration is a preset's name, a path, a dict or a FrontEndConfig, not {config!r}."
        )
    saved = _saved_file(config)
    if saved is not None:
        # what was saved is whole: today's default preset has no part in it
        config = FrontEndConfig.from_dict(_read_yaml(saved))
    if not isinstance(config, FrontEndConfig):
        config = _over_preset(config if isinstance(config, Mapping) else _read_yaml(config))
    return config.override(**overrides) if overrides else config


def learned_weights(config: Any) -> Path | None:
    """Find what a saved front end had learned.

    Args:
        config: whatever `load_config` takes.

    Returns:
        Path of the weights beside a saved configuration that has something to learn, else None.

    Raises:
        ConfigError: a saved configuration whose weights are gone.

    Source: ours.
    """
    saved = _saved_file(config)
    if saved is None or load_config(saved).spatiotemporal is None:
        return None
    path = saved.parent / WEIGHTS_NAME
    if not path.is_file():
        raise ConfigError(
            f"{saved} has a spatiotemporal module, and {path} with its weights is missing; copy the whole folder, or "
            "attach the configuration's preset to start anew."
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
    # first: a newer version may hold keys and sections that are unknown here
    check_version(values.get("config_version", 1))
    name = values.get("preset", DEFAULT_PRESET)
    base = FrontEndConfig.from_dict(_read_yaml(name if name in preset_names() else DEFAULT_PRESET))
    return base.override(**{str(key): value for key, value in values.items()})


def _read_yaml(name: str | Path) -> dict[str, Any]:
    if str(name) in preset_names():
        text = (resources.files("framegate.configs") / "presets" / f"{name}.yaml").read_text()
    elif Path(name).is_file():
        text = _text_of(Path(name))
    else:
        raise ConfigError(
            f"{str(name)!r} is neither a preset, nor a YAML file, nor a folder with {CONFIG_NAME}. "
            f"{nearest(str(name), preset_names())}"
        )
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{name} is not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{name} holds {type(values).__name__}; a configuration is a mapping of settings.")
    return values


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error}") from error
