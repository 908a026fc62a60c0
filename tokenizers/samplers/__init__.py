"""Frame samplers, one file each: the file's name is the sampler's, and its `sample` is all that it has to offer."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from framegate.errors import ConfigError, nearest
from framegate.settings import defaults, read_all, saved_settings_of, unknown

if TYPE_CHECKING:
    from framegate.tokenizers.clip.window import Window
    from framegate.types import FramePlan, VideoInfo

Sampler = Callable[..., "FramePlan"]

DEFAULT_SAMPLER = "fps"
# a configuration or a message does not let a long file flood the memory unless it says so
MAX_FRAMES = 768
# frames without times are taken to be so many per second where the sampler has no rate
ASSUMED_FPS = 2.0


def sampler_names() -> list[str]:
    """List the frame samplers, sorted."""
    files = (found.name for found in pkgutil.iter_modules(__path__))
    return sorted(name for name in files if not name.startswith("_"))


def sampler(name: str) -> Sampler:
    """Look a frame sampler up: VideoInfo and keyword settings in, FramePlan out; ConfigError for an unknown one."""
    if name not in sampler_names():
        raise ConfigError(f"Unknown frame sampler {name!r}. {nearest(str(name), sampler_names())}")
    found: Sampler = import_module(f"{__name__}.{name}").sample
    return found


def tells_clips(name: str) -> bool:
    """Tell whether a sampler's plans are clips that a prompt shows one by one: `CLIPS = True` in its file."""
    sampler(name)
    return bool(getattr(import_module(f"{__name__}.{name}"), "CLIPS", False))


def limited(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Add to a sampler's settings the limit for frames that go to a model, where they have none.

    768, or as many as num_frames asks for; "max_frames": None says that there is no limit.
    """
    asked = settings.get("num_frames")
    most = max(MAX_FRAMES, asked) if isinstance(asked, int) else MAX_FRAMES
    return {"max_frames": most, **settings}


@dataclass(frozen=True, kw_only=True)
class FramesConfig:
    """Which frames are taken from a file or a live source (frames the caller sampled are all used).

    YAML and keywords spell the settings flat: `{sampler: fps, fps: 2.0, max_frames: 768}`.

    Args:
        sampler: name of the sampler.
        settings: that sampler's own; what is left out takes the sampler's default, `max_frames` as `limited` says.

    Raises:
        ConfigError: an unknown sampler, a setting that it does not have or that is out of range, or one that it needs
            and that is missing.
    """

    sampler: str = DEFAULT_SAMPLER
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        function = sampler(self.sampler)
        known = saved_settings_of(function)
        for name in self.settings:
            if name not in known:
                raise _not_of_this_sampler(name, self.sampler, list(known))
        whole = defaults(function) | limited(read_all(self.settings, known, "frames"))
        missing = [name for name in known if name not in whole]
        if missing:
            raise ConfigError(
                f"frames.sampler {self.sampler!r} needs {', '.join(f'frames.{m}' for m in missing)}."
            )
        object.__setattr__(self, "settings", {name: whole[name] for name in known})

    @property
    def fps(self) -> float:
        """The sampler's rate in frames per second, where it has none that of frames without times."""
        return float(self.settings.get("fps") or ASSUMED_FPS)

    @property
    def is_left_open(self) -> bool:
        """True when nobody chose frames, so that the checkpoint's own processor may."""
        return self == FramesConfig()

    @classmethod
    def from_settings(cls, values: Mapping[str, Any], place: str = "frames") -> FramesConfig:
        """Make the section from its flat spelling; see `framegate.settings.make`."""
        settings = {name: value for name, value in values.items() if name != "sampler"}
        return cls(sampler=values.get("sampler", DEFAULT_SAMPLER), settings=settings)

    def to_dict(self) -> dict[str, Any]:
        """Spell the section flat, as `from_settings` takes it."""
        return {"sampler": self.sampler, **self.settings}

    @staticmethod
    def setting_names() -> set[str]:
        """All that the section may hold, whatever the sampler."""
        return {"sampler"}.union(*(saved_settings_of(sampler(name)) for name in sampler_names()))

    @staticmethod
    def laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
        """Lay flat settings over others; another sampler takes over only the settings that it has as well."""
        name = above.get("sampler", below.get("sampler", DEFAULT_SAMPLER))
        if name == below.get("sampler", name):
            return {**below, **above}
        known, own = saved_settings_of(sampler(name)), defaults(sampler(name))
        # what was left open (fps: null) stays so only where the other sampler can leave it open
        kept = {key: value for key, value in below.items() if value is not None or own.get(key) is None}
        return {key: value for key, value in kept.items() if key in known} | dict(above)

    def over(self, **changes: Any) -> FramesConfig:
        """Return a validated copy with settings replaced, flat, for example sampler="uniform", num_frames=32."""
        return self.from_settings(self.laid_over(self.to_dict(), changes))


def sample_frames(info: VideoInfo, config: FramesConfig, window_seconds: Window = (None, None)) -> FramePlan:
    """Choose the frames of a file as a configuration says, in order of time.

    Raises:
        FrameError: a live source, or a clip window that holds no frame.
    """
    start, end = window_seconds
    return sampler(config.sampler)(info, **config.settings, start_seconds=start, end_seconds=end)


def _not_of_this_sampler(name: str, chosen: str, known: list[str]) -> ConfigError:
    owners = [other for other in sampler_names() if name in saved_settings_of(sampler(other))]
    owners.sort(key=lambda other: other != DEFAULT_SAMPLER)
    if not owners:
        return unknown(str(name), known, "frames")
    return ConfigError(
        f"frames.{name} is no setting of frames.sampler {chosen!r}, whose settings are {', '.join(known)}; "
        f"it belongs to {', '.join(map(repr, owners))}: set sampler={owners[0]!r} as well."
    )
