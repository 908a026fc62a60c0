"""A file of lines that grows safely: a header that says what is run, then a row each, on the disk one by one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, ClassVar, Self

from framegate.errors import ConfigError

_REMEDY = "Give another file, or delete this one to start anew."


class LinesFile:
    """Lines that are being written; a context manager. A line is on the disk when `append` returns.

    A file that is there is taken up again: its half-written last line is cut off. `rows` are those it held by then,
    `done` their ids. A subclass says the header's `key`, what the file `holds`, and whether rows of status "error" are
    taken out of it then.

    Args:
        path: where.
        header: what is run; `resumes_on` names the entries that must be the same to go on.
        resumes_on: keys of the header.

    Raises:
        ConfigError: the file is none of its kind, or one of another run; the message says what differs.
    """

    key: ClassVar[str]
    holds: ClassVar[str]
    retries_errors: ClassVar[bool] = False

    def __init__(self, path: str | Path, header: Mapping[str, Any], *, resumes_on: tuple[str, ...]) -> None:
        self.path = Path(path)
        lines, length = whole_lines(self.path, self.key, self.holds) if self.path.is_file() else ([], 0)
        if lines:
            _check_same(self.path, self.holds, lines[0][self.key], header, resumes_on)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.retries_errors and any(row.get("status") == "error" for row in lines):
            lines = [row for row in lines if row.get("status") != "error"]
            length = _rewrite(self.path, lines)
        self.rows = lines[1:]
        self.done = {str(row["id"]) for row in self.rows}
        self._file: BinaryIO = self.path.open("r+b" if self.path.is_file() else "wb")
        self._file.truncate(length)
        self._file.seek(length)
        if not lines:
            self.append({self.key: dict(header)})
            sync_folder(self.path.parent)

    def append(self, row: Mapping[str, Any]) -> None:
        """Write one line and bring it to the disk."""
        self._file.write(_spelled(row))
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # each line is on the disk, and half of one that found no room would be tried again
        with suppress(OSError):
            self._file.close()


def _spelled(row: Mapping[str, Any]) -> bytes:
    return (json.dumps(row, ensure_ascii=False, default=str) + "\n").encode()


def _rewrite(path: Path, lines: list[dict[str, Any]]) -> int:
    """Put other lines in a file's place, all or none; tells how many bytes they take."""
    data = b"".join(_spelled(line) for line in lines)
    part = path.with_name(f"{path.name}.part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    sync_folder(path.parent)
    return len(data)


def sync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk: a file that was renamed may else have its old name after a power cut."""
    if os.name == "nt":  # folders cannot be opened there
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def whole_lines(path: Path, key: str, holds: str) -> tuple[list[dict[str, Any]], int]:
    """The lines that were written to their end, the first a header, and how many bytes they take.

    ConfigError for a file that `holds` something else than lines behind a header under `key`.
    """
    data = path.read_bytes()
    if not data or _is_cut_header(data, key):
        return [], 0
    lines: list[dict[str, Any]] = []
    length = 0
    pieces = data.splitlines(keepends=True)
    for number, piece in enumerate(pieces, 1):
        line = _parsed(piece, key)
        if line is None or (key in line) != (number == 1):
            if number == len(pieces) > 1 and key in lines[0]:
                break
            raise ConfigError(
                f"{path}, line {number}, is no {'header' if number == 1 else 'row'} of {holds}. {_REMEDY}"
            )
        lines.append(line)
        length += len(piece)
    return lines, length


def _parsed(piece: bytes, key: str) -> dict[str, Any] | None:
    """A line that was written whole, None for any other."""
    try:
        line = json.loads(piece) if piece.endswith(b"\n") else None
    except ValueError:
        return None
    return line if isinstance(line, dict) and (key in line or "id" in line) else None


def _is_cut_header(data: bytes, key: str) -> bool:
    start = json.dumps({key: {}}).encode()[:-2]
    return b"\n" not in data and (data.startswith(start) or start.startswith(data))


def _check_same(
    path: Path, holds: str, old: Mapping[str, Any], new: Mapping[str, Any], keys: tuple[str, ...]
) -> None:
    differing = [
        f"{key} {old.get(key)!r}, now {new.get(key)!r}" for key in keys if old.get(key) != new.get(key)
    ]
    if differing:
        raise ConfigError(f"{path} holds {holds} of another run ({'; '.join(differing)}). {_REMEDY}")
