"""The examples run as they are printed."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def printed(example):
    run = subprocess.run(
        [sys.executable, ROOT / "examples" / example], capture_output=True, text=True, cwd=ROOT.parent
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_quickstart_runs_and_prints_the_report():
    out = printed("quickstart.py")
    assert out.startswith("'7HP'")
    assert "prompt 25.0%" in out
    assert "generate" in out


def test_a_tower_of_timm_tells_clips_apart_by_a_quarter_of_their_cells(capsys, monkeypatch):
    pytest.importorskip("timm")
    example = str(ROOT / "examples/timm_video.py")
    monkeypatch.setattr(sys, "argv", [example])
    runpy.run_path(example, run_name="__main__")
    out = capsys.readouterr().out
    assert "tower 25.0%" in out
    clips, right, asked = map(int, re.search(r"(\d+) clips .* (\d+) of (\d+) told apart", out).groups())
    assert asked == clips // 2
    assert right >= asked - 1
