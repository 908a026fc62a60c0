"""A benchmark as a local folder: `videos/` and `questions.jsonl`, a question per line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path, PurePath
from typing import Any, Protocol, TypeVar

from framegate.errors import ConfigError
from framegate.tools.evaluation.metrics import check_answer
from framegate.tools.evaluation.records import (
    DEFAULT_KIND,
    BadRow,
    Question,
    QuestionSet,
    question_set,
    read_seconds,
    read_text,
)

QUESTIONS_NAME, VIDEOS_NAME = "questions.jsonl", "videos"


class Named(Protocol):
    """What a row is turned into: something with an id."""

    @property
    def id(self) -> str:
        """Unlike every other of its file."""
        ...


Item = TypeVar("Item", bound=Named)


def read_folder(folder: str | Path) -> QuestionSet:
    """Read a folder of videos and questions.

    A line has `id`, `video` (a name inside `videos/`), `question` and `answer`, and may have `kind`, `time_seconds`
    and `meta`. A line without a video, or whose video is missing, stays a question: asking it gives an error row.

    Args:
        folder: holds `videos/` and `questions.jsonl`.

    Returns:
        The questions, and beside them the lines that are none and the videos that nobody asks about.

    Raises:
        ConfigError: no such folder or file, or no line that is a question.

    Source: ours.
    """
    folder = Path(folder)
    videos = folder / VIDEOS_NAME
    questions, bad_rows = read_rows(question_lines(folder), lambda row: read_question(row, videos))
    return question_set(folder, questions, bad_rows, videos)


def question_lines(folder: Path) -> Iterable[tuple[str, Any]]:
    """Walk over the lines of a folder's questions.jsonl, see `numbered_lines`.

    Raises:
        ConfigError: no such folder or file.
    """
    path = folder / QUESTIONS_NAME
    if not path.is_file():
        raise ConfigError(
            f"{str(folder)!r} has no {QUESTIONS_NAME}; questions are a folder with it and {VIDEOS_NAME}/."
        )
    return numbered_lines(path)


def numbered_lines(path: Path) -> Iterable[tuple[str, Any]]:
    """Walk over the values of a JSONL file with their places; a line that is no JSON comes as its ValueError."""
    with path.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield f"{path}, line {number}", _parsed(line)


def read_rows(
    rows: Iterable[tuple[str, Any]], make: Callable[[dict[str, Any]], Item]
) -> tuple[list[Item], list[BadRow]]:
    """Turn rows into questions; what is none, or repeats an id, becomes a bad row.

    Args:
        rows: place and value.
        make: turns a value into a question, ValueError where it is none.

    Returns:
        The questions and the bad rows.
    """
    questions: dict[str, Item] = {}
    bad_rows: list[BadRow] = []
    for place, row in rows:
        try:
            question = make(_mapping(row))
            if question.id in questions:
                raise ValueError(f"the id {question.id!r} is taken by an earlier line.")
        except ValueError as error:
            bad_rows.append(BadRow(place, str(error)))
        else:
            questions[question.id] = question
    return list(questions.values()), bad_rows


def _parsed(line: str) -> Any:
    try:
        value = json.loads(line)
        # half a surrogate pair is JSON, and no text that results could be written with
        json.dumps(value, ensure_ascii=False).encode()
    except ValueError as error:
        return ValueError(f"no JSON: {error}")
    return value


def _mapping(row: Any) -> dict[str, Any]:
    if isinstance(row, ValueError):
        raise row
    if not isinstance(row, dict):
        raise ValueError(f"a question is an object with id, video, question and answer, not {row!r:.60}.")
    return row


def read_question(row: dict[str, Any], videos: Path) -> Question:
    """Turn a row into a question about a video of a folder.

    Raises:
        ValueError: the row is no question; the message says what it lacks.
    """
    kind = read_text(row, "kind") if row.get("kind") is not None else DEFAULT_KIND
    name = video_name(row.get("video"))
    return Question(
        id=read_text(row, "id"),
        video=name,
        path=videos / name if name else None,
        question=read_text(row, "question"),
        answer=check_answer(kind, read_text(row, "answer")),
        kind=kind,
        time_seconds=read_seconds(row, "time_seconds"),
        meta=read_meta(row),
    )


def read_meta(row: dict[str, Any]) -> dict[str, Any]:
    """Read what else a row holds, empty where it holds nothing.

    Raises:
        ValueError: it is no object.
    """
    meta = row.get("meta") or {}
    if not isinstance(meta, dict):
        raise ValueError(f"meta is {meta!r:.60}; it must be an object.")
    return meta


def video_name(value: Any) -> str:
    """Read the name of a video inside its folder, "" for none.

    Raises:
        ValueError: it is no text, or leads out of the folder.
    """
    if value is None or value == "":
        return ""
    if not isinstance(value, str) or PurePath(value).is_absolute() or ".." in PurePath(value).parts:
        raise ValueError(f"video is {value!r}; it must be a file name inside {VIDEOS_NAME}/.")
    return value
