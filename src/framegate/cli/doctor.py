"""`framegate doctor`: the diagnosis as a table."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from framegate.cli.options import make_console
from framegate.errors import ConfigError

if TYPE_CHECKING:
    from framegate.doctor import Diagnosis

COLOURS = {"ok": "green", "note": "yellow", "broken": "red"}


def doctor_command(*, model: str | None, video: str | None, as_json: bool) -> bool:
    """Diagnose what is installed, or a checkpoint, and print; True when nothing that is needed is broken."""
    from framegate.doctor import diagnose

    if model is not None:
        from framegate.tools.checkpoint import examine

        diagnosis = examine(model, video)
    elif video is not None:
        raise ConfigError("--video counts the tokens of a checkpoint: give --model FOLDER beside it.")
    else:
        diagnosis = diagnose()
    if as_json:
        print(json.dumps(diagnosis.to_dict(), indent=2))
    else:
        _print(diagnosis)
    return diagnosis.is_healthy


def _print(diagnosis: Diagnosis) -> None:
    from rich.table import Table
    from rich.text import Text

    console = make_console()
    versions = "  ".join(f"{name} {version}" for name, version in diagnosis.versions.items())
    console.print(versions, highlight=False)
    table = Table()
    for column in ("check", "", "found"):
        table.add_column(column, overflow="fold")
    for check in diagnosis.checks:
        found = Text(check.found)
        if check.remedy:
            found.append(f"\n{check.remedy}", style="bold")
        table.add_row(check.name, Text(check.status, style=COLOURS[check.status]), found)
    console.print(table)
    if diagnosis.is_healthy:
        console.print("Nothing that framegate needs is broken.")
    else:
        console.print("See above.", style="red")
