"""What of a configuration the gate inside of vLLM follows; the rest is refused by name when the server starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from framegate.config import FrontEndConfig
from framegate.configs.loader import load_config
from framegate.errors import ConfigError

SETTINGS = "framegate"
PRUNING = "--video-pruning-rate"
# stages that make tokens of their own, or as many as features say: vLLM schedules before there are features
_AFTER_FEATURES = ("apollo", "scene_merge", "condensation", "spatiotemporal")
_SAME_RATE = 1e-6


def served_config(given: Any) -> FrontEndConfig:
    """Read the configuration of a server, and refuse what cannot be followed there.

    Args:
        given: `framegate` of the model's configuration, set by `--hf-overrides`: a preset's name, a YAML file, or
            settings as of `framegate.attach`.

    Raises:
        ConfigError: none, one that is not valid, or one that asks for what happens behind the tower and changes how
            many tokens a tube has, or needs an attention of framegate's own.
    """
    if given is None:
        raise ConfigError(
            f"The model's configuration has no {SETTINGS!r}; say what the gate does by --hf-overrides "
            f'\'{{"architectures": [...], "{SETTINGS}": {{"keep_ratio": 0.25}}}}\'.'
        )
    config = load_config(dict(given) if isinstance(given, Mapping) else given)
    later = [name for name in _AFTER_FEATURES if getattr(config, name) is not None]
    if later:
        raise _refused(
            f"{' and '.join(later)} of preset {config.preset!r} make tokens of features", "set them to null"
        )
    if config.context != "kept":
        raise _refused(
            f"context {config.context!r} needs framegate's own attention in the tower", "set context 'kept'"
        )
    if config.reuses:
        raise _refused("gate.mode 'reuse' encodes every cell", "set gate.mode 'drop'")
    if config.down_scaling:
        raise _refused("down_scaling makes frames smaller and skips nothing", "lower the size of the frames")
    _check_selection(config)
    return config


def _check_selection(config: FrontEndConfig) -> None:
    if selects(config) and config.select is not None:
        rule, by_query = config.select.select_rule, config.select.use_query
        if rule != "equal_shares" or by_query:
            asks = "select.use_query" if by_query else f"select.select_rule {rule!r}"
            raise _refused(
                f"{asks} shares tokens out over tubes by features", "take 'equal_shares', without a query"
            )
    reduces = not config.is_identity and (config.keep_ratio, config.max_video_tokens) != (None, None)
    # a gate that drops meets the prompt's budget by itself, where it is the tower's too
    meets = config.select is not None or not (config.refills or config.tower_ratio is not None)
    if reduces and not meets:
        raise _refused(
            f"preset {config.preset!r} merges tokens by features to meet its budget",
            "use preset 'framegate', or leave keep_ratio and max_video_tokens out",
        )


def _refused(why: str, instead: str) -> ConfigError:
    return ConfigError(
        f"{why}, and vLLM has to know how many tokens every tube has before the tower runs: {instead}."
    )


def selects(config: FrontEndConfig) -> bool:
    """Tell whether fewer tokens may be read than cells are shown, so that rows and columns are known by features."""
    if config.is_identity or config.select is None:
        return False
    return config.follows_gate or (config.keep_ratio, config.max_video_tokens) != (None, None)


def check_server(config: FrontEndConfig, *, pruning_rate: float | None, on_cpu: bool) -> None:
    """Check a server against the configuration: vLLM moves positions behind the tower under `--video-pruning-rate`.

    Args:
        config: of the server.
        pruning_rate: vLLM's, share of a video's tokens that the language model does not read; None where it is not set.
        on_cpu: it runs on a CPU, where vLLM does not look at the flag.

    Raises:
        ConfigError: framegate selects tokens, and the flag is off, says another share than 1 - keep_ratio, or does
            nothing here; or it is on where nothing is selected.
    """
    if on_cpu and selects(config):
        raise ConfigError(
            "framegate selects tokens behind the tower, and vLLM's runner on a CPU moves no positions there: set "
            "tower_ratio alone, so that every cell that is shown is read, or preset 'gate', which reads what changed."
        )
    _check_pruning(config, pruning_rate)


def _check_pruning(config: FrontEndConfig, rate: float | None) -> None:
    asked = None if config.keep_ratio is None else 1 - config.keep_ratio
    if not selects(config):
        if rate:
            raise ConfigError(
                f"{PRUNING} is {rate}, and these settings of framegate select no tokens: leave the flag out, or set "
                f"keep_ratio {1 - rate:g}."
            )
        return
    words = "above 0" if asked is None else f"{asked:g}, which is 1 - keep_ratio"
    if not rate or (asked is not None and abs(rate - asked) > _SAME_RATE):
        raise ConfigError(
            f"{PRUNING} is {rate}; framegate selects tokens behind the tower, and vLLM moves their positions only "
            f"under that flag: set it to {words}. vLLM's own pruning does not run as well."
        )
