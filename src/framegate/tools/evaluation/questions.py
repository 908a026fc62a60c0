"""What an evaluation works on: questions, lines that are none, videos nobody asks about; read from a folder."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any, Protocol, TypeVar

from framegate.errors import ConfigError, nearest
from framegate.tools.batch.items import VIDEO_SUFFIXES
from framegate.tools.evaluation.metrics import check_answer

DEFAULT_KIND = "text"


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question about one video.

    Args:
        id: unlike every other of its set.
        video: name of the video in its set, and the cluster that intervals resample; "" where none was named.
        path: the video's file, which may be missing; None where none was named.
        question: as the model is asked.
        answer: the right one.
        kind: decides the metrics, see `metrics.score`.
        time_seconds: the time it asks about, None where it asks about none.
        meta: whatever else its line held.
    """

    id: str
    video: str
    path: Path | None
    question: str
    answer: str
    kind: str = DEFAULT_KIND
    time_seconds: float | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Spell the question as plain values; its path stays out, for it differs from machine to machine."""
        return {
            "id": self.id,
            "video": self.video,
            "question": self.question,
            "answer": self.answer,
            "kind": self.kind,
            "time_seconds": self.time_seconds,
            "meta": dict(self.meta),
        }


@dataclass(frozen=True)
class BadRow:
    """A line of a file of questions that is none, and why; it cannot be asked."""

    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class QuestionSet:
    """Questions in the order they are asked, those of one video after each other.

    Args:
        source: the folder or file they come from.
        questions: at least one.
        bad_rows: lines that are no question.
        unasked_videos: names of videos that no question is about.
    """

    source: Path
    questions: tuple[Question, ...]
    bad_rows: tuple[BadRow, ...] = ()
    unasked_videos: tuple[str, ...] = ()

    def select(
        self,
        *,
        kinds: Iterable[str] | None = None,
        split: str | None = None,
        limit: int | None = None,
    ) -> QuestionSet:
        """Take some of the questions, by kind, by `meta.split`, the first so many; bad rows and unasked videos stay.

        Raises:
            ConfigError: kinds or a split that no question has, alone or together, or a limit below 1.
        """
        known = {question.kind for question in self.questions}
        wanted = known if kinds is None else set(kinds)
        for kind in sorted(wanted - known):
            raise ConfigError(f"No question of {self.source} is of kind {kind!r}. {nearest(kind, known)}")
        if limit is not None and limit < 1:
            raise ConfigError(f"The limit is {limit}; it must be at least 1.")
        splits = {str(one.meta["split"]) for one in self.questions if one.meta.get("split") is not None}
        if split is not None and split not in splits:
            raise ConfigError(f"No question of {self.source} is of split {split!r}. {nearest(split, splits)}")
        chosen = tuple(
            question
            for question in self.questions
            if question.kind in wanted and (split is None or str(question.meta.get("split")) == split)
        )
        if not chosen:
            raise ConfigError(
                f"No question of {self.source} is of split {split!r} and of kind {sorted(wanted)}."
            )
        return replace(self, questions=chosen[:limit])

    def digest(self) -> str:
        """Hash the questions and the sizes of their videos: another video is another benchmark."""
        whole = [[question.document(), _size_bytes(question.path)] for question in self.questions]
        return hashlib.sha256(json.dumps(whole, sort_keys=True, default=str).encode()).hexdigest()[:16]


def question_set(
    source: Path, questions: list[Question], bad_rows: list[BadRow], videos: Path
) -> QuestionSet:
    """Put a set together, questions by video; ConfigError with the first bad row where there is no question."""
    if not questions:
        first = f" The first bad row: {bad_rows[0]}" if bad_rows else ""
        raise ConfigError(f"{source} has no question that can be asked.{first}")
    asked = {question.path for question in questions}
    found = sorted(videos.rglob("*")) if videos.is_dir() else []
    unasked = [path for path in found if path.suffix.lower() in VIDEO_SUFFIXES and path not in asked]
    return QuestionSet(
        source=source,
        questions=_by_video(questions),
        bad_rows=tuple(bad_rows),
        unasked_videos=tuple(str(path.relative_to(videos)) for path in unasked),
    )


def read_text(row: Mapping[str, Any], name: str) -> str:
    """Read a required text of a row, numbers as written; ValueError where it is missing, empty or no text."""
    value = row.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} is {value!r}; it must be a text that is not empty.")
    return value


def read_seconds(row: Mapping[str, Any], name: str) -> float | None:
    """Read a time of a row that may be missing; ValueError where it is no finite number."""
    value = row.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}; it must be a number of seconds, or null.")
    return float(value)


def _by_video(questions: Iterable[Question]) -> tuple[Question, ...]:
    groups: dict[str, list[Question]] = {}
    for question in questions:
        groups.setdefault(question.video, []).append(question)
    return tuple(question for group in groups.values() for question in group)


def _size_bytes(path: Path | None) -> int | None:
    return path.stat().st_size if path is not None and path.is_file() else None


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
    """
    folder = Path(folder)
    videos = folder / VIDEOS_NAME
    questions, bad_rows = read_rows(question_lines(folder), lambda row: read_question(row, videos))
    return question_set(folder, questions, bad_rows, videos)


def question_lines(folder: Path) -> Iterable[tuple[str, Any]]:
    """Walk over a folder's questions.jsonl, see `numbered_lines`; ConfigError where there is none."""
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
    """Turn rows, each with its place, into questions; one that `make` refuses, or with an id again, is a bad row."""
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
    """Turn a row into a question about a video of a folder; ValueError says what the row lacks."""
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
    """Read what else a row holds, empty where it holds nothing; ValueError where it is no object."""
    meta = row.get("meta") or {}
    if not isinstance(meta, dict):
        raise ValueError(f"meta is {meta!r:.60}; it must be an object.")
    return meta


def video_name(value: Any) -> str:
    """Read the name of a video inside its folder, "" for none; ValueError where it leads out of the folder."""
    if value is None or value == "":
        return ""
    if not isinstance(value, str) or PurePath(value).is_absolute() or ".." in PurePath(value).parts:
        raise ValueError(f"video is {value!r}; it must be a file name inside {VIDEOS_NAME}/.")
    return value
