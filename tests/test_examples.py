"""The examples run as they are printed."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_quickstart_runs_and_prints_the_report():
    run = subprocess.run(
        [sys.executable, ROOT / "examples/quickstart.py"], capture_output=True, text=True, cwd=ROOT.parent
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("'7HP'")
    assert "prompt 25.0%" in run.stdout
    assert "generate" in run.stdout
