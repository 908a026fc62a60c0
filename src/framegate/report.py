"""What a front end did to the last call: patches, tokens, milliseconds and reasons, printable and as JSON."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass, field

from framegate.notebook import html_notes, html_table


@dataclass(kw_only=True)
class StageReport:
    """One stage's work.

    Args:
        name: "stream", "gate", "tower", "language model", ...
        patches_in: patches (rows of the tower) that came in, None where the stage has none.
        patches_out: patches handed on.
        tokens_in: language-model video tokens that came in.
        tokens_out: tokens handed on.
        milliseconds: wall time.
        note: what the stage did or why it stood aside.
    """

    name: str
    patches_in: int | None = None
    patches_out: int | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    milliseconds: float | None = None
    note: str = ""


@dataclass(kw_only=True)
class Report:
    """The account of one call.

    Args:
        preset: name of the configuration.
        num_videos: videos in the call.
        video_seconds: their duration together, None when time stamps are unknown.
        dense_tokens: video tokens the stock model would have had, one per cell.
        encoded_cells: cells that the tower encoded.
        reused_cells: cells whose features an earlier call had encoded (`front_end.remember`).
        kept_tokens: video tokens the language model got.
        dense_time_tokens: text tokens of time, with what sets them apart, in the stock prompt.
        kept_time_tokens: the same in the prompt that the language model got.
        stages: per stage, in order of flow.
        notes: reasons, fallbacks and warnings, each once.
        peak_memory_bytes: peak resident memory of the process so far, None when unknown.
        kernels: calls of framegate's operations by the path they took, as "segment_merge: triton"; a reason stands
            behind "torch" where a kernel was wanted and could not run.
    """

    preset: str
    num_videos: int = 0
    video_seconds: float | None = None
    dense_tokens: int = 0
    encoded_cells: int = 0
    reused_cells: int = 0
    kept_tokens: int = 0
    dense_time_tokens: int = 0
    kept_time_tokens: int = 0
    stages: list[StageReport] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    peak_memory_bytes: int | None = None
    kernels: dict[str, int] = field(default_factory=dict)

    @property
    def keep_ratio(self) -> float:
        """Share of the dense tokens that was kept, 1.0 when there was no video."""
        return self.kept_tokens / self.dense_tokens if self.dense_tokens else 1.0

    @property
    def tower_ratio(self) -> float:
        """Share of the dense cells that the tower encoded, 1.0 when there was no video."""
        return self.encoded_cells / self.dense_tokens if self.dense_tokens else 1.0

    @property
    def prompt_ratio(self) -> float:
        """Video tokens and text of time in the prompt, as a share of the same in the stock prompt."""
        dense = self.dense_tokens + self.dense_time_tokens
        return (self.kept_tokens + self.kept_time_tokens) / dense if dense else 1.0

    @property
    def tokens_per_second(self) -> float | None:
        """Kept tokens per second of video, None when the duration is unknown."""
        return self.kept_tokens / self.video_seconds if self.video_seconds else None

    def note(self, text: str) -> None:
        """Add a reason, once."""
        if text not in self.notes:
            self.notes.append(text)

    def stage(self, name: str) -> StageReport:
        """Return the stage of that name, added at the end when it is new."""
        found = next((stage for stage in self.stages if stage.name == name), None)
        if found is None:
            found = StageReport(name=name)
            self.stages.append(found)
        return found

    def to_json(self) -> str:
        """Spell the report as JSON, with the derived figures."""
        names = ("tower_ratio", "keep_ratio", "prompt_ratio", "tokens_per_second")
        figures = {name: getattr(self, name) for name in names}
        return json.dumps(asdict(self) | figures, indent=2)

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(file=io.StringIO(), width=100, color_system=None)
        console.print(self.__rich__())
        text: str = console.file.getvalue()  # type: ignore[attr-defined]
        return text.rstrip("\n")

    def __rich__(self) -> object:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        # what stands in notes are names of files, whose brackets are no markup
        table = Table(title=Text(self._headline()), title_justify="left", title_style="bold")
        table.add_column("stage")
        for column in ("patches", "tokens", "ms"):
            table.add_column(column, justify="right")
        table.add_column("note", overflow="fold")
        for *cells, note in self._rows():
            table.add_row(*cells, Text(note))
        return Group(table, *map(Text, self._lines()))

    def _repr_html_(self) -> str:
        table = html_table(("stage", "patches", "tokens", "ms", "note"), self._rows())
        return html_notes(self._headline(), ()) + table + html_notes("", self._lines())

    def _rows(self) -> list[tuple[str, str, str, str, str]]:
        """A row of text per stage."""
        return [
            (
                stage.name,
                _flow(stage.patches_in, stage.patches_out),
                _flow(stage.tokens_in, stage.tokens_out),
                "" if stage.milliseconds is None else f"{stage.milliseconds:,.1f}",
                stage.note,
            )
            for stage in self.stages
        ]

    def _lines(self) -> list[str]:
        """What stands below the table."""
        lines = [f"note: {note}" for note in self.notes]
        if any(not path.endswith(": torch") for path in self.kernels):
            lines.append(f"kernels: {', '.join(f'{path} x {count}' for path, count in self.kernels.items())}")
        return lines

    def _headline(self) -> str:
        parts = [
            f"preset {self.preset}: tower {self.tower_ratio:.1%} ({self.encoded_cells:,} of {self.dense_tokens:,} "
            f"cells), prompt {self.keep_ratio:.1%} ({self.kept_tokens:,} video tokens)"
        ]
        if self.kept_time_tokens or self.dense_time_tokens:
            parts.append(f"{self.prompt_ratio:.1%} with {self.kept_time_tokens:,} tokens of time")
        if self.tokens_per_second is not None:
            parts.append(f"{self.tokens_per_second:,.1f} tokens per second of video")
        if self.peak_memory_bytes is not None:
            parts.append(f"peak memory {self.peak_memory_bytes / 2**20:,.0f} MiB")
        return ", ".join(parts)


def _flow(count_in: int | None, count_out: int | None) -> str:
    """Word what came in and what went on."""
    if count_in is None and count_out is None:
        return ""
    if count_in is None or count_out is None or count_in == count_out:
        return f"{count_out if count_in is None else count_in:,}"
    return f"{count_in:,} -> {count_out:,}"
