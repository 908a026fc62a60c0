"""Where frame samplers are found by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from inspect import signature
from numbers import Integral, Real
from typing import Any

from framegate.errors import ConfigError, nearest
from framegate.samplers import SAMPLERS
from framegate.tokenizers.samplers.config import FramesConfig
from framegate.types import FramePlan, VideoInfo

Sampler = Callable[..., FramePlan]


def sampler(name: str) -> Sampler:
    """Look a frame sampler up.

    Args:
        name: registry key, the name of its folder under tokenizers/.

    Returns:
        Its function: VideoInfo and keyword settings in, FramePlan out.

    Raises:
        ConfigError: no sampler of that name; the message names the nearest one.
    """
    if not isinstance(name, str) or name not in SAMPLERS:
        raise ConfigError(f"Unknown frame sampler {name!r}. {nearest(str(name), SAMPLERS)}")
    found: Any = import_module(SAMPLERS[name])
    return found.sample


def run_sampler(name: str, info: VideoInfo, settings: Mapping[str, Any]) -> FramePlan:
    """Run a frame sampler on settings that a user wrote.

    Args:
        name: registry key of the sampler.
        info: the video.
        settings: keyword settings of that sampler; it checks their ranges itself.

    Returns:
        The frames it chose.

    Raises:
        ConfigError: unknown sampler, unknown or missing setting (the message names the nearest one), a value
            of a wrong kind or out of range.
        FrameError: a live source, or a clip window that holds no frame.

    Source: ours.
    """
    sample = sampler(name)
    known = {
        key: value for key, value in signature(sample).parameters.items() if value.kind is value.KEYWORD_ONLY
    }
    for key in settings:
        if key not in known:
            raise ConfigError(f"Frame sampler {name!r} has no setting {key!r}. {nearest(key, known)}")
    missing = [key for key, value in known.items() if value.default is value.empty and key not in settings]
    if missing:
        raise ConfigError(
            f"Frame sampler {name!r} needs {', '.join(missing)}; its settings are {', '.join(known)}."
        )
    for key, value in settings.items():
        _check_number(f"{name}.{key}", value, known[key].annotation)
    return sample(info, **settings)


def sample_frames(
    info: VideoInfo,
    config: FramesConfig,
    window_seconds: tuple[float | None, float | None] = (None, None),
) -> FramePlan:
    """Choose the frames of a file as a configuration says.

    Args:
        info: the video.
        config: sampler and its settings.
        window_seconds: start and end of the clip window, None for the video's own.

    Returns:
        The frames, in order of time.

    Raises:
        ConfigError: an unknown sampler, or a setting out of range.
        FrameError: a live source, or a clip window that holds no frame.

    Source: ours.
    """
    wanted = {
        "fps": config.fps,
        "num_frames": config.num_frames,
        "max_frames": config.max_frames,
        "coverage": config.coverage,
        "keyframe_source": config.keyframe_source,
        "min_gap_seconds": config.min_gap_seconds,
        "start_seconds": window_seconds[0],
        "end_seconds": window_seconds[1],
    }
    known = signature(sampler(config.sampler)).parameters
    return run_sampler(config.sampler, info, {name: wanted[name] for name in wanted if name in known})


def _check_number(place: str, value: Any, annotation: str) -> None:
    """Refuse what is no number where the signature (annotations are strings) asks for one."""
    kinds = {part.strip() for part in str(annotation).split("|")}
    if not kinds <= {"int", "float", "None"} or (value is None and "None" in kinds):
        return
    wanted: type = Real if "float" in kinds else Integral
    if isinstance(value, bool) or not isinstance(value, wanted):
        article = "a number" if wanted is Real else "a whole number"
        raise ConfigError(
            f"{place} is {value!r}; it must be {article}{' or None' if 'None' in kinds else ''}."
        )
