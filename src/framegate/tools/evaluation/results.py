"""A file of results: a header line that says what was run, then a line per question, in lmms-eval's sample style."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from framegate.configs.loader import learned_weights, load_config
from framegate.errors import ConfigError
from framegate.provenance import commit
from framegate.tokenizers.scoring import unwrapped
from framegate.tools.evaluation.questions import QuestionSet
from framegate.version import __version__

HEADER_KEY = "framegate_eval"
_REMEDY = "Give another file, or delete this one to start anew."
# settings that have an entry of their own
_OWN_ENTRIES = ("tower_ratio", "keep_ratio", "fps")
# what must be the same for a run to be taken up again
RESUMES_ON = (
    "model",
    "weights",
    "device",
    "dtype",
    "preset",
    "config",
    "learned",
    "scorer",
    "sampling",
    "questions",
    "max_new_tokens",
    "versions",
)


@dataclass(frozen=True)
class Results:
    """What a file of results holds.

    Args:
        header: what was run.
        rows: one per question that was asked, as written.
    """

    header: Mapping[str, Any]
    rows: tuple[Mapping[str, Any], ...]


def read_results(path: str | Path) -> Results:
    """Read a file of results; a half-written last line is left out.

    Args:
        path: the JSONL file that `evaluate` wrote.

    Returns:
        Header and rows.

    Raises:
        ConfigError: there is no such file, or a line of it is no row of results; the message names the line.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"There is no file of results {str(path)!r}.")
    lines, _ = _whole_lines(path)
    if not lines:
        raise ConfigError(f"{path} holds no results.")
    return Results(lines[0][HEADER_KEY], tuple(lines[1:]))


class ResultsFile:
    """A file of results that is being written; a context manager. A line is on the disk when `append` returns.

    A file that is there is taken up again: its half-written last line is cut off, and rows of status "error" are taken
    out, for their questions are asked again.

    Args:
        path: where.
        header: what is run; `resumes_on` names the entries that must be the same to go on.
        resumes_on: keys of the header.

    Raises:
        ConfigError: the file is no file of results, or one of another run; the message says what differs.
    """

    def __init__(self, path: str | Path, header: Mapping[str, Any], *, resumes_on: tuple[str, ...]) -> None:
        self.path = Path(path)
        lines, length = _whole_lines(self.path) if self.path.is_file() else ([], 0)
        if lines:
            _check_same(self.path, lines[0][HEADER_KEY], header, resumes_on)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if any(row.get("status") == "error" for row in lines):
            lines = [row for row in lines if row.get("status") != "error"]
            length = _rewrite(self.path, lines)
        self.done = {str(row["id"]) for row in lines[1:]}
        self._file: BinaryIO = self.path.open("r+b" if self.path.is_file() else "wb")
        self._file.truncate(length)
        self._file.seek(length)
        if not lines:
            self.append({HEADER_KEY: dict(header)})

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
    return len(data)


def _whole_lines(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The lines that were written to their end, the first a header, and how many bytes they take."""
    data = path.read_bytes()
    if not data or _is_cut_header(data):
        return [], 0
    lines: list[dict[str, Any]] = []
    length = 0
    pieces = data.splitlines(keepends=True)
    for number, piece in enumerate(pieces, 1):
        line = _parsed(piece)
        if line is None or (HEADER_KEY in line) != (number == 1):
            if number == len(pieces) > 1 and HEADER_KEY in lines[0]:
                break
            raise ConfigError(
                f"{path}, line {number}, is no {'header' if number == 1 else 'row'} of results. {_REMEDY}"
            )
        lines.append(line)
        length += len(piece)
    return lines, length


def _parsed(piece: bytes) -> dict[str, Any] | None:
    """A line that was written whole, None for any other."""
    try:
        line = json.loads(piece) if piece.endswith(b"\n") else None
    except ValueError:
        return None
    return line if isinstance(line, dict) and (HEADER_KEY in line or "id" in line) else None


def _is_cut_header(data: bytes) -> bool:
    start = json.dumps({HEADER_KEY: {}}).encode()[:-2]
    return b"\n" not in data and (data.startswith(start) or start.startswith(data))


def _check_same(path: Path, old: Mapping[str, Any], new: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    differing = [
        f"{key} {old.get(key)!r}, now {new.get(key)!r}" for key in keys if old.get(key) != new.get(key)
    ]
    if differing:
        raise ConfigError(f"{path} holds results of another run ({'; '.join(differing)}). {_REMEDY}")


def run_header(
    model: Any,
    questions: QuestionSet,
    preset: Any,
    overrides: dict[str, Any],
    *,
    model_name: str | None,
    max_new_tokens: int,
    command: str,
    scorer: object | None = None,
    sampling: Callable[..., Any] | None = None,
) -> dict[str, Any]:
    """Say what a run is: model, settings, questions and where it runs; see `evaluate` for the arguments."""
    config = load_config(preset, **overrides)
    learned = learned_weights(preset)
    return {
        "model": model_name or str(model.config._name_or_path or type(model).__name__),
        "weights": fingerprint(model),
        "device": _device_name(model),
        "dtype": str(model.dtype).removeprefix("torch."),
        "preset": str(preset) if isinstance(preset, str | Path) else config.preset,
        "settings": {name: value for name, value in overrides.items() if name not in _OWN_ENTRIES},
        "tower_ratio": config.tower_budget.keep_ratio,
        "keep_ratio": config.keep_ratio,
        "fps": config.frames.fps if "fps" in config.frames.settings else None,
        "config": _digest(json.dumps(config.to_dict(), sort_keys=True, default=str).encode()),
        "learned": None if learned is None else _digest(learned.read_bytes()),
        "scorer": None if scorer is None else type(unwrapped(scorer)).__name__,
        "sampling": None if sampling is None else sampling.__name__,
        "questions": questions.digest(),
        "num_questions": len(questions.questions),
        "source": str(questions.source),
        "bad_rows": [str(row) for row in questions.bad_rows],
        "unasked_videos": list(questions.unasked_videos),
        "max_new_tokens": max_new_tokens,
        "batch_size": 1,
        "versions": {"framegate": __version__}
        | {name: metadata.version(name) for name in ("torch", "transformers")},
        "commit": commit(),
        "command": command,
    }


def fingerprint(model: Any) -> str:
    """Hash names, shapes and the first values of all weights: a checkpoint that was trained on is another model."""
    import torch

    told = hashlib.sha256()
    for name, weight in model.named_parameters():
        told.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        if weight.device.type != "meta":
            start = weight.detach().flatten()[:32].cpu().contiguous()
            told.update(start.view(torch.uint8).numpy().tobytes())
    return told.hexdigest()[:16]


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _device_name(model: Any) -> str:
    import torch

    return torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else str(model.device.type)
