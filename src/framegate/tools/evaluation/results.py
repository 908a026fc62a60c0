"""A file of results: a header line that says what was run, then a line per question, in lmms-eval's sample style."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from framegate.configs.loader import learned_weights, load_config
from framegate.errors import ConfigError
from framegate.provenance import commit
from framegate.tokenizers.scoring import unwrapped
from framegate.tools.evaluation.questions import QuestionSet
from framegate.tools.lines_file import LinesFile, whole_lines
from framegate.version import __version__

HEADER_KEY = "framegate_eval"
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
    lines, _ = whole_lines(path, HEADER_KEY, "results")
    if not lines:
        raise ConfigError(f"{path} holds no results.")
    return Results(lines[0][HEADER_KEY], tuple(lines[1:]))


class ResultsFile(LinesFile):
    """A file of results that is being written; rows of status "error" are taken out, for they are asked again."""

    key, holds, retries_errors = HEADER_KEY, "results", True


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
    # caps refuse videos, and decide on nothing else
    decides = {name: value for name, value in config.to_dict().items() if name != "caps"}
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
        "config": _digest(json.dumps(decides, sort_keys=True, default=str).encode()),
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
