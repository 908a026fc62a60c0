"""A folder of videos and questions as samples of a training run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from framegate.errors import ConfigError, nearest

QUESTIONS_NAME, VIDEOS_NAME = "questions.jsonl", "videos"
_REQUIRED = ("id", "video", "question", "answer")


class VideoQuestions(Dataset[dict[str, Any]]):
    """Questions about videos, each a conversation of two turns that ends with the answer.

    Args:
        folder: holds `videos/` and `questions.jsonl`, a line per question with id, video, question and answer; a line
            may have `messages` in place of question and answer.
        split: take the questions whose `meta.split` this is; None takes all.

    Raises:
        ConfigError: no such folder, a line that is no question (the message names the line), a video that is not
            there, or no question at all.
    """

    def __init__(self, folder: str | Path, *, split: str | None = None) -> None:
        self.folder, self.split, self.epoch = Path(folder), split, 0
        rows = list(_rows(self.folder))
        splits = {str((row.get("meta") or {}).get("split")) for row in rows}
        self.rows = [row for row in rows if split is None or (row.get("meta") or {}).get("split") == split]
        if not self.rows:
            raise ConfigError(
                f"{self.folder / QUESTIONS_NAME} has no question of split {split!r}. {nearest(str(split), splits)}"
            )

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one sample: id, index, epoch, and messages as `apply_chat_template` takes them."""
        if not 0 <= index < len(self.rows):
            raise IndexError(f"sample {index} of {len(self.rows)}")
        row = self.rows[index]
        return {"id": row["id"], "index": index, "epoch": self.epoch, "messages": _messages(self.folder, row)}

    def set_epoch(self, epoch: int) -> None:
        """Say how often the data was seen before; budgets are drawn anew in each epoch."""
        self.epoch = epoch


def _rows(folder: Path) -> Iterator[dict[str, Any]]:
    path = folder / QUESTIONS_NAME
    if not path.is_file():
        raise ConfigError(
            f"{str(folder)!r} has no {QUESTIONS_NAME}; data is a folder with it and {VIDEOS_NAME}/."
        )
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _checked(line, f"{path}, line {number}", folder)


def _checked(line: str, where: str, folder: Path) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{where} is no JSON: {error}") from error
    wanted = _REQUIRED if not isinstance(row, dict) or "messages" not in row else ("id", "messages")
    missing = [name for name in wanted if not isinstance(row, dict) or row.get(name) in (None, "")]
    if missing:
        raise ConfigError(f"{where} lacks {', '.join(missing)}; a question has {', '.join(wanted)}.")
    turns = row.get("messages", [])
    if not isinstance(turns, list) or not all(
        isinstance(t, dict) and {"role", "content"} <= t.keys() for t in turns
    ):
        raise ConfigError(f"{where} has messages that are no list of turns with role and content.")
    for path in _paths(folder, row):
        if not path.is_file():
            raise ConfigError(f"{where} names {path}, and there is no such file.")
    return row


def _paths(folder: Path, row: dict[str, Any]) -> list[Path]:
    blocks = [
        part for message in _messages(folder, row) for part in message["content"] if isinstance(part, dict)
    ]
    return [Path(block["path"]) for block in blocks if block.get("type") == "video" and "path" in block]


def _messages(folder: Path, row: dict[str, Any]) -> list[dict[str, Any]]:
    if "messages" in row:
        return [_with_paths(folder, message) for message in row["messages"]]
    video = {"type": "video", "path": str(folder / VIDEOS_NAME / row["video"])}
    return [
        {"role": "user", "content": [video, {"type": "text", "text": row["question"]}]},
        {"role": "assistant", "content": [{"type": "text", "text": str(row["answer"])}]},
    ]


def _with_paths(folder: Path, message: dict[str, Any]) -> dict[str, Any]:
    """The same message with the paths of its videos made whole, and its text as a block."""
    content = message["content"]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return message | {
        "content": [
            block | {"path": str(folder / VIDEOS_NAME / block["path"])}
            if block.get("type") == "video" and "path" in block
            else block
            for block in blocks
        ]
    }
