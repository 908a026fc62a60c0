"""What a run over a data set reads: the videos of a folder, of a glob or of a manifest, each under an id of its own."""

from __future__ import annotations

import csv
import glob
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from framegate.errors import ConfigError
from framegate.settings import make, settings_of
from framegate.tokenizers.clip.address import SCHEME

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm")
_MANIFESTS = (".jsonl", ".csv", ".txt")


@dataclass(frozen=True, kw_only=True)
class Item:
    """One video of a data set.

    Args:
        path: path or address.
        id: by which a run knows it; the path, as the input spells it, where none is given.
        question: what to ask about it; None for the run's own.
        start_seconds: start of the window, None for the beginning.
        end_seconds: end of the window, None for the end.
    """

    path: str
    id: str = ""
    question: str | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None


def read_items(source: str) -> list[Item]:
    """List the videos of an input, in its order. A file that a manifest names and that is not there is left to the run.

    Args:
        source: a folder, searched with all folders in it; a glob; or a manifest: .jsonl with a mapping a line, .csv
            with a header, or .txt with a path a line. Manifests name files from their own folder on, and have the
            fields of Item.

    Returns:
        The videos; ids are those given, else paths as the input spells them.

    Raises:
        ConfigError: there is no such input or no video in it, a line that is none, or an id that stands twice.
    """
    path = Path(source)
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.suffix.lower() in VIDEO_SUFFIXES)
        items = [Item(path=str(file), id=file.relative_to(path).as_posix()) for file in found]
    elif path.is_file() and path.suffix.lower() in _MANIFESTS:
        items = [_item(values, path, number) for number, values in _ROWS[path.suffix.lower()](path) if values]
    else:
        files = sorted(glob.glob(source, recursive=True))
        items = [Item(path=file, id=file) for file in files if Path(file).suffix.lower() in VIDEO_SUFFIXES]
    if not items:
        raise ConfigError(
            f"{source!r} names no video; give a folder or a glob of files ({', '.join(VIDEO_SUFFIXES)}), or a manifest "
            f"({', '.join(_MANIFESTS)})."
        )
    _check_ids(items, source)
    return items


def _item(values: Mapping[str, Any], manifest: Path, number: int) -> Item:
    place = f"{manifest}, line {number}"
    given = {name: value for name, value in values.items() if value is not None}
    if not given.get("path"):
        raise ConfigError(f"{place} has no path; fields are {', '.join(settings_of(Item))}.")
    item = make(Item, given, place, what="field")
    is_address = SCHEME.match(item.path) or item.path.lower().startswith(("file:", "data:"))
    path = item.path if is_address else str(manifest.parent / item.path)
    return Item(**{**vars(item), "path": path, "id": item.id or item.path})


def _json_rows(path: Path) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(_text(path).split("\n"), 1):
        try:
            values = json.loads(line) if line.strip() else None
        except ValueError as error:
            raise ConfigError(f"{path}, line {number}, is no JSON ({error}).") from error
        if values is not None and not isinstance(values, dict):
            raise ConfigError(f'{path}, line {number}, is no mapping; write {{"path": "a.mp4"}}.')
        yield number, values


def _csv_rows(path: Path) -> Iterator[tuple[int, Any]]:
    rows = csv.DictReader(io.StringIO(_text(path), newline=""))
    for row in rows:
        if None in row or None in row.values():
            raise ConfigError(f"{path}, line {rows.line_num}, has more or fewer cells than the header.")
        # an empty cell says nothing; numbers are spelled as text
        told = {name: value for name, value in row.items() if value}
        yield (
            rows.line_num,
            {name: _number(value) if "seconds" in name else value for name, value in told.items()},
        )


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} is no UTF-8 ({error.reason}, byte {error.start}); save it as that."
        ) from error


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _text_rows(path: Path) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(_text(path).split("\n"), 1):
        yield number, {"path": line.strip()} if line.strip() else None


_ROWS = {".jsonl": _json_rows, ".csv": _csv_rows, ".txt": _text_rows}


def _check_ids(items: list[Item], source: str) -> None:
    seen: dict[str, str] = {}
    for item in items:
        if item.id in seen:
            raise ConfigError(
                f"Id {item.id!r} stands twice in {source!r}, for {seen[item.id]!r} and {item.path!r}; every "
                "video needs an id of its own."
            )
        seen[item.id] = item.path
