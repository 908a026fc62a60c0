"""What the README and the guides promise is there: their Python runs as printed, their commands and settings exist."""

import re
from importlib import resources

import pytest
import typer
from pages import README, ROOT, blocks_in, commands_in, pages, tables_in

import framegate
from framegate.cli import app
from framegate.models.tiny import tiny_pair

CLIP = str(resources.files("framegate") / "assets" / "slides.mp4")
CODES = str(resources.files("framegate") / "assets" / "codes.mp4")
GUIDES = [README, ROOT / "docs/index.md", *sorted((ROOT / "docs/guides").glob("*.md"))]
# runs for a minute: tests/training/test_recipe.py
ELSEWHERE = ("train.md",)
RUN = [
    page for page in GUIDES if page.name not in ELSEWHERE and "```python" in page.read_text(encoding="utf-8")
]


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


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_every_snippet_runs(names, page):
    """Those of a page one after the other, with the names that those before have made; on a tiny model."""
    for code in blocks_in(page.read_text(), "python"):
        for name in ("path/or/hub-id", "framegate/nano"):
            code = code.replace(name, "checkpoint")
        code = code.replace('"clip.mp4"', repr(CLIP)).replace('"codes.mp4"', repr(CODES))
        code = code.replace('"rtsp://camera/stream", live_fps=4', f'{CLIP!r}, format="mov", live_fps=4')
        exec(compile(code, page.name, "exec"), names)


def test_every_command_exists():
    """Subcommands and options of framegate, targets of make, files that python is given."""
    known = {
        name: {option for parameter in command.params for option in parameter.opts}
        for name, command in typer.main.get_command(app).commands.items()
    }
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    missing, programs = [], set()
    for program, *words in (words for page in GUIDES for words in commands_in(page.read_text())):
        programs.add(program)
        if program == "framegate":
            options = known.get(words[0], set())
            missing += [word for word in words if word.startswith("--") and word not in options]
            missing += [words[0]] * (words[0] not in known)
        elif program == "make":
            missing += sorted(set(words) - targets)
        else:
            missing += [word for word in words if word.endswith(".py") and not (ROOT / word).is_file()]
    assert missing == []
    assert programs >= {"framegate", "make"}


def test_every_setting_of_a_table_exists():
    tables = [
        table for page in pages() for table in tables_in(page.read_text()) if table.startswith("| setting")
    ]
    names = {
        name
        for table in tables
        for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    }
    assert len(names) >= 12
    sections = {"apollo": {}, "scene_merge": {}, "condensation": {}, "timestamps": {}}
    known = set()
    for sampler in ("fps", "keyframes", "tass"):
        config = framegate.load_config("framegate", sampler=sampler, **sections).to_dict()
        known |= config.keys()
        known |= {name for section in config.values() if isinstance(section, dict) for name in section}
    assert names <= known


def test_every_link_inside_the_repository_leads_somewhere():
    dead = {
        f"{page.name}: {link}"
        for page in pages()
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text())
        if "://" not in link and not (page.parent / link).exists()
    }
    assert dead == set()
