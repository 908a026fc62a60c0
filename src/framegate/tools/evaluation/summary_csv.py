"""The summary CSV: a row per run, kind and metric, added to and never written over."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from framegate.errors import ConfigError
from framegate.tools.evaluation.results import Results
from framegate.tools.evaluation.summary import Figure

COLUMNS = (
    *("model", "preset", "settings", "keep_ratio", "fps", "kind", "n", "metric", "value", "low", "high"),
    *("tokens_dense", "tokens_kept", "input_seconds", "first_token_seconds", "generate_seconds"),
    *("errors", "seed", "commit", "command"),
)
# of two equal runs these may still differ
_PROVENANCE = ("commit", "command")


def csv_rows(results: Results, figures: Sequence[Figure], *, seed: int) -> list[dict[str, str]]:
    """Spell figures as rows of the summary CSV; what is unknown is empty."""
    head = results.header
    shared = {name: head.get(name) for name in ("model", "preset", "keep_ratio", "fps", "commit", "command")}
    settings = json.dumps(head["settings"], sort_keys=True, default=str) if head.get("settings") else None
    rows = []
    for figure in figures:
        named = {
            "kind": figure.kind,
            "n": figure.n,
            "metric": figure.metric,
            "errors": figure.errors,
            "seed": seed,
        }
        row: dict[str, Any] = (
            shared | {"settings": settings} | named | vars(figure.estimate) | dict(figure.costs)
        )
        rows.append({name: _spelled(row.get(name)) for name in COLUMNS})
    return rows


def append_csv(path: str | Path, rows: Sequence[Mapping[str, str]]) -> int:
    """Add rows to a summary CSV; a row that is there already, commit and command aside, is not written again.

    Args:
        path: the file; made with its header line where there is none.
        rows: of `csv_rows`.

    Returns:
        How many rows were added.

    Raises:
        ConfigError: the file has other columns.
    """
    there = {_identity(row) for row in read_csv(path)}
    new = [row for row in rows if _identity(row) not in there]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with Path(path).open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if file.tell() == 0:
            writer.writeheader()
        writer.writerows(new)
    return len(new)


def read_csv(path: str | Path) -> list[dict[str, str]]:
    """Read a summary CSV; no rows where there is no file.

    Raises:
        ConfigError: the file has other columns.
    """
    if not Path(path).is_file() or Path(path).stat().st_size == 0:
        return []
    with Path(path).open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise ConfigError(
                f"{path} has other columns than a summary ({', '.join(COLUMNS)}); give another file."
            )
        return list(reader)


def _identity(row: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(row[name] for name in COLUMNS if name not in _PROVENANCE)


def _spelled(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
