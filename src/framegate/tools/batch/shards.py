"""Shards: Parquet files of rows, each whole or not there, and the manifest that says which count."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing import parent_process
from pathlib import Path
from typing import Any, overload

import numpy as np

from framegate.errors import ConfigError, OutputError
from framegate.tools.batch.job import Row, plan_of
from framegate.tools.batch.tokens import are_tokens, tokens_of
from framegate.tools.lines_file import LinesFile, sync_folder, whole_lines

HEADER_KEY, MANIFEST_NAME, HOLDS = "framegate_batch", "manifest.jsonl", "shards"
SUFFIX, PART = ".parquet", ".part"


class ManifestFile(LinesFile):
    """The manifest of a folder of shards: a header, then a line for every shard with the ids of its rows."""

    key, holds = HEADER_KEY, HOLDS


def write_shard(folder: Path, number: int, rows: Sequence[Row], header: Mapping[str, Any]) -> Row:
    """Write rows as one file, all or none, and bring it to the disk.

    Args:
        folder: of the run.
        number: of the shard.
        rows: as `Prepare` and `Finish` make them.
        header: where they come from, kept in the file as well.

    Returns:
        The shard's line for the manifest.

    Raises:
        OutputError: it cannot be written, for want of room, say.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    name = f"shard-{number:06d}{SUFFIX}"
    # of this try alone: one that was given up, of a killed run or of Ray, may still be writing
    part = folder / f"{name}.{secrets.token_hex(4)}{PART}"
    schema = _schema().with_metadata({HEADER_KEY: json.dumps(dict(header), default=str)})
    columns = [{**row, "arrays": _packed(row.get("arrays") or {})} for row in rows]
    try:
        with part.open("wb") as file:
            pq.write_table(pa.Table.from_pylist(columns, schema=schema), file)
            file.flush()
            os.fsync(file.fileno())
        check_parent()
        part.replace(folder / name)
        # before the manifest tells of it
        sync_folder(folder)
    except OSError as problem:
        part.unlink(missing_ok=True)
        raise OutputError(
            f"{part} cannot be written ({problem}); make room there and run the same command again, which goes on "
            "behind the last whole shard."
        ) from problem
    errors = sum(row["status"] == "error" for row in rows)
    return {"id": name, "rows": len(rows), "errors": errors, "ids": [row["id"] for row in rows]}


def check_parent() -> None:
    """End a worker whose run was killed: the next run may have given its shard's number to other videos."""
    parent = parent_process()
    if parent is not None and not parent.is_alive():
        raise OutputError("The run that this worker belongs to is gone; run the same command again.")


class Shards(Sequence[Row]):
    """The rows of a folder of shards, in the order in which they were written; a torch DataLoader takes it as it is.

    Of a video that was tried again (`retry_errors`) the last row counts.

    Args:
        folder: that `framegate batch` wrote.

    Raises:
        ConfigError: it holds no shards.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        manifest = self.folder / MANIFEST_NAME
        lines, _ = whole_lines(manifest, HEADER_KEY, HOLDS) if manifest.is_file() else ([], 0)
        if not lines:
            raise ConfigError(
                f"{str(folder)!r} holds no shards; `framegate batch INPUT --out {folder}` writes some."
            )
        self.header: Row = lines[0][HEADER_KEY]
        self._shards = lines[1:]
        self._stale = _stale_places(self._shards)
        counts = [line["rows"] - len(stale) for line, stale in zip(self._shards, self._stale, strict=True)]
        self._ends = np.cumsum(counts, dtype=np.int64)
        self._held: tuple[int, list[Row]] = (-1, [])

    @property
    def num_shards(self) -> int:
        """Files of the folder."""
        return len(self._shards)

    @property
    def errors(self) -> int:
        """Rows of status "error"."""
        # what was tried again had failed
        return sum(line["errors"] for line in self._shards) - sum(map(len, self._stale))

    def error_ids(self) -> set[str]:
        """Ids of the rows of status "error"; of shards without one nothing is read."""
        import pyarrow.parquet as pq

        found = set[str]()
        for line, stale in zip(self._shards, self._stale, strict=True):
            if line["errors"] > len(stale):
                table = pq.read_table(self._file(line["id"]), columns=["id", "status"])
                rows = enumerate(table.to_pylist())
                found |= {row["id"] for place, row in rows if row["status"] == "error" and place not in stale}
        return found

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __iter__(self) -> Iterator[Row]:
        for number in range(len(self._shards)):
            yield from self._rows(number)

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> list[Row]: ...
    def __getitem__(self, place: int | slice) -> Row | list[Row]:
        """A row by its place; that shard stays at hand."""
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        place = place + len(self) if place < 0 else place
        if not 0 <= place < len(self):
            raise IndexError(f"row {place} of {len(self)}")
        number = int(np.searchsorted(self._ends, place, side="right"))
        if self._held[0] != number:
            self._held = number, list(self._rows(number))
        return self._held[1][place - int(self._ends[number])]

    def _rows(self, number: int) -> Iterator[Row]:
        import pyarrow.parquet as pq

        place, stale = 0, self._stale[number]
        for batch in pq.ParquetFile(self._file(self._shards[number]["id"])).iter_batches(batch_size=16):
            for values in batch.to_pylist():
                if place not in stale:
                    yield _row(values)
                place += 1

    def _file(self, name: str) -> Path:
        file = self.folder / name
        if not file.is_file():
            raise ConfigError(
                f"{file} is gone, and the manifest names it; put it back, or run into another folder."
            )
        return file


def _stale_places(lines: Sequence[Row]) -> list[frozenset[int]]:
    """Of each shard the places of rows whose videos have a later row."""
    seen, stale = set[str](), list[frozenset[int]]()
    for line in reversed(lines):
        stale.append(frozenset(place for place, name in enumerate(line["ids"]) if name in seen))
        seen.update(line["ids"])
    return stale[::-1]


def is_shard(file: Path) -> bool:
    """True of a Parquet file that `framegate batch` wrote."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return HEADER_KEY.encode() in (pq.read_schema(file).metadata or {})
    except (pa.ArrowException, OSError):
        return False


def read_shards(folder: str | Path) -> Shards:
    """Read what `framegate batch` wrote.

    Args:
        folder: the one given as --out.

    Returns:
        Its rows, dicts with `id`, `path`, `status`, `error`, `notes` and counts; `plan` where plans were made, the
        model's `inputs` by name where patches or tokens were (`framegate.tools.batch.model_inputs` makes tensors of
        them), and `tokens`, where each token came from; `answer` where a model was asked. `.header` says where rows
        come from.

    Raises:
        ConfigError: it holds no shards.
    """
    return Shards(folder)


def _row(values: Row) -> Row:
    arrays = {one["name"]: _array(one) for one in values.pop("arrays") or ()}
    if "frames_indices" in arrays:
        return values | {"plan": plan_of(arrays)}
    if are_tokens(arrays):
        return values | tokens_of(arrays)
    return values | ({"inputs": arrays} if arrays else {})


def _packed(arrays: Mapping[str, np.ndarray[Any, Any]]) -> list[Row]:
    return [
        {"name": name, "dtype": str(value.dtype), "shape": list(value.shape), "data": value.tobytes()}
        for name, value in arrays.items()
    ]


def _array(one: Row) -> np.ndarray[Any, Any]:
    return np.frombuffer(bytearray(one["data"]), np.dtype(one["dtype"])).reshape(one["shape"])


def _schema() -> Any:
    import pyarrow as pa

    array = pa.struct(
        {"name": pa.string(), "dtype": pa.string(), "shape": pa.list_(pa.int64()), "data": pa.large_binary()}
    )
    texts = {name: pa.string() for name in ("id", "path", "status", "error", "question", "answer")}
    counts = {name: pa.int64() for name in ("tokens_dense", "tokens_kept", "cells_encoded")}
    return pa.schema({**texts, **counts, "notes": pa.list_(pa.string()), "arrays": pa.list_(array)})
