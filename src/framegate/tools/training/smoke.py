"""What a smoke run trains on when nothing else is named: a tiny model and the shipped clip."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from importlib import resources
from pathlib import Path

from framegate.tools.evaluation.folder import QUESTIONS_NAME, VIDEOS_NAME
from framegate.tools.training.config import FinetuneConfig

MOST_STEPS = 4


def smoke_config(config: FinetuneConfig) -> FinetuneConfig:
    """Cut a run down to a few steps, and make a tiny random model and data where none are named.

    Args:
        config: of the run, with smoke set.

    Returns:
        Its short form; what was made lies under output_dir.

    Source: ours.
    """
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
