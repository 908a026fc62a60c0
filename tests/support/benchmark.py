"""A small folder of clips and questions, as `framegate eval` reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clips import gradient_frames, write_clip


def question(number: int, **changes: Any) -> dict[str, Any]:
    """A line of questions.jsonl about v0.mp4; None in changes takes a key out."""
    row = {
        "id": f"q{number}",
        "video": "v0.mp4",
        "question": "What text stands at 0.5 seconds?",
        "answer": "7KP",
        "kind": "text_at",
        "time_seconds": 0.5,
    } | changes
    return {name: value for name, value in row.items() if value is not None}


def write_benchmark(folder: Path, rows: list[dict[str, Any] | str], *, videos: int = 2) -> Path:
    """Write one-second clips v0.mp4, v1.mp4, ... and the rows; a row that is a text is written as it stands."""
    (folder / "videos").mkdir(parents=True)
    for number in range(videos):
        frames = gradient_frames(10, height_px=96, width_px=128)
        write_clip(folder / "videos" / f"v{number}.mp4", frames[number:])
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / "questions.jsonl").write_text("".join(f"{line}\n" for line in lines))
    return folder
