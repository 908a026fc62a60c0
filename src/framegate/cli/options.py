"""What the commands share: the options of a plan, --set, and where they print."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from framegate.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 110
# settings with an option of their own
NAMED_SETTINGS = ("keep_ratio", "tower_ratio", "max_video_tokens", "fps")


def make_console() -> Console:
    """Open standard output as a rich console: as wide as the terminal, 110 columns off a terminal.

    What is printed is taken as it is: names of files hold brackets, which are no markup.
    """
    from rich.console import Console

    console = Console(markup=False)
    return console if console.is_terminal else Console(markup=False, width=PIPE_WIDTH)


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """What the user asked `plan` or `view` for; `overrides` are the settings that replace the preset's."""

    video: str
    preset: str
    start_seconds: float | None
    end_seconds: float | None
    tube_frames: int
    cell_px: int
    width_px: int
    family: str | None
    query: str | None
    scorer: str | None
    overrides: dict[str, Any]

    @property
    def video_name(self) -> str:
        """The last part of the video's path or address; what is longer than any name by its beginning."""
        from framegate.tokenizers.clip.address import NAME_MOST_BYTES, shown

        return Path(self.video).name if len(self.video) <= NAME_MOST_BYTES else shown(self.video)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> PlanOptions:
        """Take what a command was given, by the names of its options."""
        names = [field.name for field in fields(cls) if field.name != "overrides"]
        return cls(**{name: given[name] for name in names}, overrides=overrides_of(given))

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
        asked = {"query": self.query, "scorer": self.scorer}
        shown = {"preset": self.preset, **self.overrides, **asked, **frames, **tubes}
        return {name.replace("_", " "): value for name, value in shown.items() if value is not None}


def overrides_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Collect the settings that replace the preset's: those with an option of their own, and those of --set."""
    named = {name: given[name] for name in NAMED_SETTINGS if given.get(name) is not None}
    return named | parse_settings(given["settings"])


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
