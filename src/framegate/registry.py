"""Where frame samplers are found by name."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from framegate.errors import ConfigError, nearest
from framegate.types import FramePlan

Sampler = Callable[..., FramePlan]

# name -> module with a function `sample(info: VideoInfo, **settings) -> FramePlan`
SAMPLERS: dict[str, str] = {
    "fps": "framegate.tokenizers.fps",
    "uniform": "framegate.tokenizers.uniform",
}


def sampler(name: str) -> Sampler:
    """Look a frame sampler up.

    Args:
        name: registry key, the name of its folder under tokenizers/.

    Returns:
        Its function: VideoInfo and keyword settings in, FramePlan out.

    Raises:
        ConfigError: no sampler of that name; the message names the nearest one.
    """
    if name not in SAMPLERS:
        raise ConfigError(f"Unknown frame sampler {name!r}. {nearest(name, SAMPLERS)}")
    found: Any = import_module(SAMPLERS[name])
    return found.sample

