"""The header of a file of results: what was run, on what, and by which code."""

from __future__ import annotations

import hashlib
import json
from importlib import metadata
from pathlib import Path
from typing import Any

from framegate.configs.loader import learned_weights, load_config
from framegate.provenance import commit
from framegate.tools.evaluation.records import QuestionSet
from framegate.version import __version__

# what must be the same for a run to be taken up again
RESUMES_ON = (
    "model",
    "weights",
    "device",
    "dtype",
    "preset",
    "config",
    "learned",
    "questions",
    "max_new_tokens",
    "versions",
)


def run_header(
    model: Any,
    questions: QuestionSet,
    preset: Any,
    overrides: dict[str, Any],
    *,
    model_name: str | None,
    max_new_tokens: int,
    command: str,
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
        "settings": {name: value for name, value in overrides.items() if name not in ("keep_ratio", "fps")},
        "keep_ratio": config.keep_ratio,
        "fps": config.frames.fps if "fps" in config.frames.settings else None,
        "config": _digest(json.dumps(config.to_dict(), sort_keys=True, default=str).encode()),
        "learned": None if learned is None else _digest(learned.read_bytes()),
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
