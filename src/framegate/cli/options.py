"""Where the commands print."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from framegate.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console


PIPE_WIDTH = 110


def make_console() -> Console:
    """Open standard output as a rich console: as wide as the terminal, 110 columns off a terminal."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)


@dataclass(frozen=True)
class PlanOptions:
    """What the user asked for, as written on the command line."""

    video: str
    preset: str
    keep_ratio: float | None
    max_video_tokens: int | None
    fps: float | None
    start_seconds: float | None
    end_seconds: float | None
    tube_frames: int
    cell_px: int
    width_px: int
    family: str | None
    settings: list[str] | None

    def overrides(self) -> dict[str, Any]:
        """Collect the settings that replace those of the preset."""
        named = {"keep_ratio": self.keep_ratio, "max_video_tokens": self.max_video_tokens, "fps": self.fps}
        return {name: value for name, value in named.items() if value is not None} | parse_settings(
            self.settings
        )

    def described(self) -> dict[str, Any]:
        """Spell the options for a table: what was given, by name."""
        window = None
        if self.start_seconds is not None or self.end_seconds is not None:
            end = "the end" if self.end_seconds is None else f"{self.end_seconds:g} s"
            window = f"{self.start_seconds or 0:g} s to {end}"
        frames = {"window": window, "judged at": f"{self.width_px} px wide, cells of {self.cell_px} px"}
        tubes: dict[str, Any] = {"frames per tube": self.tube_frames}
        if self.family is not None:
            frames, tubes = {"window": window, "judged": f"as {self.family} does"}, {}
        shown = {"preset": self.preset, **self.overrides(), **frames, **tubes}
        return {name.replace("_", " "): value for name, value in shown.items() if value is not None}


def parse_settings(settings: list[str] | None) -> dict[str, Any]:
    """Read name=value pairs, values as YAML; ConfigError for what is none."""
    import yaml

    values = {}
    for setting in settings or []:
        name, equals, text = setting.partition("=")
        if not equals or not name.strip():
            raise ConfigError(f"--set {setting!r} is no name=value, for example --set threshold=6.")
        try:
            values[name.strip()] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {setting!r}: the value is not valid YAML.") from error
    return values
