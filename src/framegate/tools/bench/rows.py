"""Rows of a benchmark and the CSV that keeps the newest of each key."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from framegate.errors import ConfigError

COLUMNS = (
    *("op", "provider", "mode", "metric", "x_name", "x", "p50", "p20", "p80", "floor_ms", "of_floor"),
    *("peak_mib", "shape", "dtype", "device", "torch", "triton", "commit", "timestamp", "command"),
)
KEY = ("op", "provider", "mode", "x_name", "x", "dtype", "device")
METRIC = "ms"


def spelled_row(values: Mapping[str, Any]) -> dict[str, str]:
    """Spell a row's values as the CSV has them; what is unknown is empty."""
    return {name: _spelled(values.get(name)) for name in COLUMNS}


def _spelled(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return json.dumps(dict(value), sort_keys=True)
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def merged_rows(old: Sequence[dict[str, str]], new: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Put new rows in the place of old ones of the same key, and keep the others.

    Args:
        old: rows that are there.
        new: rows of a run.

    Returns:
        Old rows in their order, replaced or not, then those of new keys.

    Source: ours.
    """
    return list({_key(row): row for row in (*old, *new)}.values())


def _key(row: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(row[name] for name in KEY)


def read_rows(path: str | Path) -> list[dict[str, str]]:
    """Read a CSV of rows.

    Args:
        path: the file.

    Returns:
        Its rows; none where there is no file.

    Raises:
        ConfigError: the file has other columns.

    Source: ours.
    """
    if not Path(path).is_file():
        return []
    with Path(path).open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise ConfigError(
                f"{path} has other columns than a benchmark ({', '.join(COLUMNS)}); take it away or give another --out."
            )
        return list(reader)


def write_rows(path: str | Path, rows: Sequence[dict[str, str]]) -> None:
    """Write rows into a CSV, each in the place of the one with its key.

    Args:
        path: the file; made with its folders where there is none.
        rows: of a run.

    Raises:
        ConfigError: the file is there and has other columns.

    Source: ours.
    """
    path = Path(path)
    merged = merged_rows(read_rows(path), rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(merged)
    part.replace(path)
