"""accelerate's data parallelism in two processes over gloo, one of them without a video."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.clients
pytest.importorskip("accelerate")

SUPPORT = Path(__file__).parents[1] / "support"


@pytest.mark.parametrize(
    ("preset", "settings"),
    [("framegate", []), ("kffocus", ["keyframe_source=content"])],
)
def test_gradients_are_the_mean_of_both_processes(preset, settings, clip):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += [str(SUPPORT / "two_processes.py"), preset, str(clip), *settings]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "rank 0: 1 videos, ok" in done.stdout
    assert "rank 1: 0 videos, ok" in done.stdout
