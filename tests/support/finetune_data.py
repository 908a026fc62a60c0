"""A tiny checkpoint and a tiny benchmark folder, for the tests of fine-tuning."""

import json

from clips import write_clip
from tiny import moving_frames

import framegate
from framegate.models.tiny import tiny_pair
from framegate.tools.training import CompletionCollator, VideoQuestions, finetune_config

ANSWERS = ("7KP", "top left", "3.2")
SIZES = ((112, 168), (128, 96), (96, 192))
SETTINGS = {"fps": 10, "keep_ratio": 0.5}


def checkpoint(folder, family):
    """A tiny model and its processor in a folder; its path."""
    for part in tiny_pair(family):
        part.save_pretrained(folder)
    return folder


def benchmark_folder(folder, num_frames=(8, 8, 8)):
    """Three videos of different sizes with a question each; the path."""
    (folder / "videos").mkdir(parents=True)
    rows = []
    for number, (answer, (height, width)) in enumerate(zip(ANSWERS, SIZES, strict=True)):
        write_clip(
            folder / f"videos/v{number}.mp4", moving_frames(num_frames[number], height, width, seed=number)
        )
        split = "train" if number < 2 else "validation"
        rows.append(
            {
                "id": f"q{number}",
                "video": f"v{number}.mp4",
                "question": "What stands there?",
                "answer": answer,
            }
            | {"kind": "text_at", "time_seconds": None, "meta": {"split": split}}
        )
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def run_config(model, data, output, **changes):
    """Settings of a short run on the CPU."""
    return finetune_config({"model": str(model), "data": str(data), "output_dir": str(output), **changes})


def attached(folder, front_end="framegate", **settings):
    model, processor = framegate.from_pretrained(folder, front_end="dense")
    framegate.front_end_of(model).detach()
    return model, processor, framegate.attach(model, processor, front_end, **(settings or SETTINGS))


def collated(processor, data, indices=(0, 1), **options):
    dataset = VideoQuestions(data)
    collator = CompletionCollator(processor=processor, dataset=dataset, **options)
    return collator([dataset[index] for index in indices])
