"""The recipe of docs/guides/train.md, as written: both splits rendered, an adapter learned and read back."""

import json
import shlex
import subprocess
import sys

import pytest
from pages import ROOT, blocks_in

import framegate

pytestmark = pytest.mark.slow


def test_the_recipe_of_the_guide_runs_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    page = (ROOT / "docs/guides/train.md").read_text()
    (lines,) = blocks_in(page, "bash")
    for line in lines.splitlines():
        program, *words = shlex.split(line)
        first = [sys.executable] if program == "python" else [sys.executable, "-m", program]
        run = subprocess.run([*first, *words], capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
    (code,) = blocks_in(page, "python")
    exec(compile(code, "train.md", "exec"), {"framegate": framegate})
    assert (tmp_path / "out/nano_gated/final/adapter_config.json").is_file()
    for name in ("before", "after"):
        rows = [json.loads(line) for line in (tmp_path / f"out/{name}.jsonl").read_text().splitlines()]
        answered = [row for row in rows if row.get("status") == "ok"]
        assert len(answered) == 16
