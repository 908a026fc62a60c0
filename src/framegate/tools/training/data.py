"""A folder of videos and questions as samples of a training run."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from framegate.errors import ConfigError, nearest
from framegate.tools.evaluation.questions import (
    QUESTIONS_NAME,
    VIDEOS_NAME,
    question_lines,
    read_meta,
    read_question,
    read_rows,
    read_text,
    video_name,
)
from framegate.tools.faults import OnFault
from framegate.tools.training.config import FinetuneConfig

logger = logging.getLogger(__name__)
# of a smoke run
MOST_STEPS = 4


class VideoQuestions(Dataset[dict[str, Any]]):
    """Questions about videos, each a conversation that ends with the answer.

    Args:
        folder: holds `videos/` and `questions.jsonl`, as `framegate.tools.evaluation.read_folder` reads it; a line may
            have `messages` in place of video, question and answer, whose videos are names inside `videos/` as well.
        split: take the questions whose `meta.split` this is; None takes all.
        turns: ask up to so many questions of neighbouring lines about a video in one conversation, which shows the
            video once; lines with `messages` stay as they are.
        on_error: "raise", or "skip" to leave out, with a warning and in `bad_rows`, a line that is no question, repeats
            an id or names no video that is there.

    Raises:
        ConfigError: no such folder, such a line under "raise" (the message names it), or no question at all.
    """

    def __init__(
        self, folder: str | Path, *, split: str | None = None, turns: int = 1, on_error: OnFault = "raise"
    ) -> None:
        self.folder, self.split, self.epoch = Path(folder), split, 0
        found, bad_rows = read_rows(question_lines(self.folder), lambda row: _conversation(row, self.folder))
        self.bad_rows = tuple(bad_rows)
        if bad_rows:
            more = f" (and {len(bad_rows) - 1} more)" if len(bad_rows) > 1 else ""
            if on_error == "raise":
                raise ConfigError(f"{bad_rows[0]}{more}")
            logger.warning("Left out of %s: %s%s.", self.folder, bad_rows[0], more)
        if not found:
            raise ConfigError(f"{self.folder} has no question.")
        self.conversations = joined([one for one in found if split in (None, one.split)], turns)
        if not self.conversations:
            splits = {str(one.split) for one in found}
            raise ConfigError(
                f"{self.folder} has no question of split {split!r}. {nearest(str(split), splits)} null takes all; "
                "framegate eval FOLDER --generate N --split train renders some."
            )

    def __len__(self) -> int:
        return len(self.conversations)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one sample: id, index, epoch, and messages as `apply_chat_template` takes them."""
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        one = self.conversations[index]
        return {"id": one.id, "index": index, "epoch": self.epoch, "messages": one.messages}

    def set_epoch(self, epoch: int) -> None:
        """Say how often the data was seen before; budgets are drawn anew in each epoch."""
        self.epoch = epoch


@dataclass(frozen=True)
class Conversation:
    """What a model learns from: id, split (None where none is named), turns, and the video of a plain question."""

    id: str
    split: str | None
    messages: list[dict[str, Any]]
    video: str | None = None


def joined(conversations: list[Conversation], turns: int) -> list[Conversation]:
    """Join neighbours that ask about the same video, up to `turns` questions, under the id of the first."""
    if turns < 1:
        raise ConfigError(f"turns is {turns}; it must be at least 1.")
    groups: list[list[Conversation]] = []
    for one in conversations:
        last = groups[-1] if groups else []
        if one.video is not None and last and last[0].video == one.video and len(last) < turns:
            last.append(one)
        else:
            groups.append([one])
    return [_one_of(group) for group in groups]


def _one_of(group: list[Conversation]) -> Conversation:
    first, *others = group
    # the video is shown with the first question alone
    more = [
        message | {"content": [block for block in message["content"] if block["type"] != "video"]}
        for one in others
        for message in one.messages
    ]
    return replace(first, messages=first.messages + more)


def _conversation(row: dict[str, Any], folder: Path) -> Conversation:
    """Turn a row into a conversation whose videos are there.

    Raises:
        ValueError: it is none; the message says why.
    """
    videos = folder / VIDEOS_NAME
    own = "messages" in row
    messages = _own_turns(row, videos) if own else _two_turns(row, videos)
    for path in _paths(messages):
        if not path.is_file():
            raise ValueError(f"there is no video {path}.")
    video = None if own else messages[0]["content"][0]["path"]
    return Conversation(read_text(row, "id"), read_meta(row).get("split"), messages, video)


def _two_turns(row: dict[str, Any], videos: Path) -> list[dict[str, Any]]:
    question = read_question(row, videos)
    if question.path is None:
        raise ValueError("the question names no video.")
    shown = {"type": "video", "path": str(question.path)}
    return [
        {"role": "user", "content": [shown, {"type": "text", "text": question.question}]},
        {"role": "assistant", "content": [{"type": "text", "text": question.answer}]},
    ]


def _own_turns(row: dict[str, Any], videos: Path) -> list[dict[str, Any]]:
    turns = row["messages"]
    if not isinstance(turns, list) or not turns or not all(_is_turn(turn) for turn in turns):
        raise ValueError("messages are no list of turns with role and content, a text or a list of blocks.")
    return [turn | {"content": _blocks(turn["content"], videos)} for turn in turns]


def _is_turn(turn: Any) -> bool:
    if not isinstance(turn, dict) or not {"role", "content"} <= turn.keys():
        return False
    content = turn["content"]
    return isinstance(content, str) or (
        isinstance(content, list) and all(isinstance(block, dict) for block in content)
    )


def _blocks(content: str | list[dict[str, Any]], videos: Path) -> list[dict[str, Any]]:
    """The blocks of a turn, a text as one, with the paths of videos made whole."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [
        block | {"path": str(videos / video_name(block["path"]))}
        if block.get("type") == "video" and "path" in block
        else block
        for block in content
    ]


def _paths(messages: list[dict[str, Any]]) -> Iterator[Path]:
    blocks = (block for message in messages for block in message["content"])
    return (Path(block["path"]) for block in blocks if block.get("type") == "video" and "path" in block)


def smoke_config(config: FinetuneConfig) -> FinetuneConfig:
    """Cut a run down to a few steps; a tiny random model and data are made under output_dir where none are named."""
    folder = Path(config.output_dir)
    return replace(
        config,
        model=config.model or str(_tiny_checkpoint(folder / "tiny_model")),
        data=config.data or str(_shipped_data(folder / "shipped_data")),
        max_steps=min(config.max_steps or MOST_STEPS, MOST_STEPS),
        logging_steps=1,
        bf16=False,
    )


def _tiny_checkpoint(folder: Path) -> Path:
    from framegate.models.tiny import tiny_pair

    if not (folder / "config.json").is_file():
        for part in tiny_pair("qwen3_vl"):
            part.save_pretrained(folder)
    return folder


def _shipped_data(folder: Path) -> Path:
    (folder / VIDEOS_NAME).mkdir(parents=True, exist_ok=True)
    with resources.as_file(resources.files("framegate") / "assets/slides.mp4") as clip:
        shutil.copy(clip, folder / VIDEOS_NAME / "slides.mp4")
    truth = json.loads((resources.files("framegate") / "assets/slides.json").read_text())
    rows = [
        {
            "id": f"slides-{number}",
            "video": "slides.mp4",
            "question": f"Which text appears at {text['start_seconds']:.1f} seconds?",
            "answer": text["text"],
        }
        for number, text in enumerate(truth["texts"][:2])
    ]
    (folder / QUESTIONS_NAME).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder
