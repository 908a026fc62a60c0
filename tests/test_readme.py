"""The README's Python runs as printed, on a tiny model and the shipped clip."""

import re
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

import framegate
from framegate.models.tiny import tiny_pair

ROOT = Path(__file__).parents[1]
CLIP = str(resources.files("framegate") / "assets" / "slides.mp4")


def blocks():
    return re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)


@pytest.fixture
def names(tmp_path, monkeypatch):
    """What the snippets take for granted: a model, a processor, messages, a checkpoint, a clip, a camera."""
    monkeypatch.chdir(tmp_path)
    model, processor = tiny_pair("qwen2_5_vl")
    model.generation_config.max_new_tokens = 2
    model.save_pretrained("checkpoint")
    processor.save_pretrained("checkpoint")
    video = {"type": "video", "path": CLIP, "video_end": 3}
    content = [video, {"type": "text", "text": "What is the order code?"}]
    messages = [{"role": "user", "content": content}]
    return {"framegate": framegate, "model": model, "processor": processor, "messages": messages}


def test_every_snippet_runs(names):
    found = blocks()
    assert len(found) == 4
    for code in found:
        code = code.replace("path/or/hub-id", "checkpoint").replace('"clip.mp4"', repr(CLIP))
        code = code.replace('"rtsp://camera/stream", live_fps=4', f'{CLIP!r}, format="mov", live_fps=4')
        exec(compile(code, "README.md", "exec"), names)
    assert framegate.front_end_of(names["model"]).config.preset == "kffocus"
    plan = names["plan"]
    assert plan.keep.shape == plan.anchor.shape == plan.motion_px.shape[:3]
    assert np.isclose(plan.keep_ratio, 0.25, atol=1 / plan.num_cells)


def test_every_setting_of_the_table_exists():
    text = (ROOT / "README.md").read_text()
    table = text[text.index("| setting |") : text.index("Exact budgets")]
    names = [
        name for row in re.findall(r"^\| (`.*?) \|", table, re.M) for name in re.findall(r"`(\w+)`", row)
    ]
    assert len(names) >= 12
    sections = {"scene_merge": {}, "condensation": {}, "timestamps": {}}
    known = framegate.load_config("framegate", **sections).to_dict()
    flat = {name for section in known.values() if isinstance(section, dict) for name in section}
    assert set(names) <= {*known, *flat}
