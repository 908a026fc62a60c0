"""DIVE's layout: the annotation table of dense lecture videos beside a folder of videos."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from framegate.errors import ConfigError
from framegate.tools.evaluation.questions import (
    DEFAULT_KIND,
    Question,
    QuestionSet,
    numbered_lines,
    question_set,
    read_rows,
    read_text,
)

TABLE_NAME, VIDEOS_NAME = "LPM_videos.parquet", "videos"
_KINDS = {"_sub": "subtitle", "_ocr": "ocr"}
# what a question needs is read on its own; the long columns (captions, every word that OCR found) stay behind
_META = ("type", "fps", "frame_count", "width", "height", "segment_start", "segment_end")
_COLUMNS = ("qid", "video", "video_path", "question", "answer", *_META)


def read_dive(source: str | Path, *, videos: str | Path | None = None) -> QuestionSet:
    """Read the Educational High-FPS table of DIVE.

    The kinds are "subtitle" and "ocr", by the ending of `qid`. Videos are looked for at `video_path` below the
    table's folder and as `videos/<file name>`; the whole file is shown, `segment_start` and `segment_end` are kept
    as meta alone, since nothing says that they are times of the file (ours). `LPM_slides.parquet` is the same table
    under another name.

    Args:
        source: the folder that holds `LPM_videos.parquet`, or the table itself as .parquet (needs pyarrow), .jsonl or
            .json (a list of rows).
        videos: folder of the videos; None for `videos/` beside the table.

    Returns:
        The questions.

    Raises:
        ConfigError: no table, pyarrow is missing, no row is a question, or it is the High-Motion table: that scores
            the frames which stand at equal steps from the first to the last, and no sampler of framegate takes
            those.

    Source: DIVE's release notes (github.com/Hai-chao-Zhang/DenseVideoUnderstand, docs/DATASET_RELEASE.md).
    """
    table = Path(source) / TABLE_NAME if Path(source).is_dir() else Path(source)
    if not table.is_file():
        raise ConfigError(f"{str(source)!r} holds no {TABLE_NAME}, and is no table itself.")
    folder = Path(videos) if videos is not None else table.parent / VIDEOS_NAME
    rows = list(_rows(table))
    if any(isinstance(row, dict) and "answer_traj" in row for _, row in rows):
        raise ConfigError(
            f"{table} is DIVE's High-Motion table. Its scores are per frame, at equal steps from the first frame to "
            "the last, which no sampler of framegate takes; read the Educational table instead."
        )
    questions, bad_rows = read_rows(rows, lambda row: _question(row, table.parent, folder))
    return question_set(table, questions, bad_rows, folder)


def is_dive(source: str | Path) -> bool:
    """Tell whether a path is in DIVE's layout: a table, or a folder with one."""
    path = Path(source)
    if not path.is_file():
        return (path / TABLE_NAME).is_file()
    if path.suffix == ".parquet":
        return True
    # its rows begin with an id that is called so nowhere else
    with path.open("rb") as file:
        return path.suffix in (".json", ".jsonl") and b'"qid"' in file.read(1 << 16)


def _rows(table: Path) -> Iterable[tuple[str, Any]]:
    if table.suffix == ".jsonl":
        return numbered_lines(table)
    if table.suffix == ".parquet":
        rows = _parquet_rows(table)
    else:
        try:
            rows = json.loads(table.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ConfigError(f"{table} is no JSON: {error}") from error
    if not isinstance(rows, list):
        raise ConfigError(f"{table} holds {type(rows).__name__}; a table is a list of rows.")
    return [(f"{table}, row {number}", row) for number, row in enumerate(rows, 1)]


def _parquet_rows(table: Path) -> list[dict[str, Any]]:
    try:
        import pyarrow  # type: ignore[import-not-found]
        import pyarrow.parquet as parquet  # type: ignore[import-not-found]
    except ImportError as error:
        raise ConfigError(
            f"{table} needs pyarrow: pip install pyarrow, or write the table as JSONL."
        ) from error
    try:
        names = parquet.read_schema(table).names
        kept = [name for name in (*_COLUMNS, "answer_traj") if name in names]
        rows: list[dict[str, Any]] = parquet.read_table(table, columns=kept).to_pylist()
    except pyarrow.ArrowInvalid as error:
        raise ConfigError(f"{table} is no parquet file: {error}") from error
    return rows


def _question(row: dict[str, Any], root: Path, videos: Path) -> Question:
    qid = read_text(row, "qid")
    shown = row.get("video_path") or row.get("video") or ""
    if not isinstance(shown, str):
        raise ValueError(f"video_path is {shown!r}; it must be a path.")
    return Question(
        id=qid,
        video=PurePosixPath(shown).name,
        path=_video_path(shown, root, videos) if shown else None,
        question=read_text(row, "question"),
        answer=read_text(row, "answer"),
        kind=next((kind for ending, kind in _KINDS.items() if qid.endswith(ending)), DEFAULT_KIND),
        meta={name: row[name] for name in _META if name in row},
    )


def _video_path(shown: str, root: Path, videos: Path) -> Path:
    parts = PurePosixPath(shown)
    inside = root / parts
    if parts.is_absolute() or ".." in parts.parts or not inside.is_file():
        return videos / parts.name
    return inside
