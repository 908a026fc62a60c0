"""Two processes over gloo: accelerate's data parallelism, one of them without a video, and torch's sharding (FSDP2)."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import framegate
from framegate.models.tiny import tiny_pair

pytestmark = pytest.mark.clients
pytest.importorskip("accelerate")

SUPPORT = Path(__file__).parents[1] / "support"


def in_two_processes(script, *words):
    """What a script of tests/support prints, run by torchrun."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [*command, str(SUPPORT / script), *words],
        capture_output=True,
        text=True,
        timeout=600,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize(
    ("preset", "settings"),
    [("framegate", []), ("kffocus", ["keyframe_source=content"])],
)
def test_gradients_are_the_mean_of_both_processes(preset, settings, clip):
    told = in_two_processes("two_processes.py", preset, str(clip), *settings)
    assert "rank 0: 1 videos, ok" in told
    assert "rank 1: 0 videos, ok" in told


def test_two_shards_train_as_one_process(clip, tmp_path):
    told = in_two_processes("two_shards.py", str(clip), str(tmp_path))
    assert "rank 0: tower 0.5, ok" in told
    assert "rank 1: tower 0.5, ok" in told


def test_a_saved_state_holds_what_the_front_end_learned(tmp_path):
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    model, processor = tiny_pair("qwen2_5_vl")
    front_end = framegate.attach(model, processor, "kffocus", keep_ratio=0.5)
    accelerator.prepare(model)
    front_end.module.time_gate.data.fill_(0.5)
    accelerator.save_state(tmp_path)
    front_end.module.time_gate.data.zero_()
    accelerator.load_state(tmp_path)
    assert front_end.module.time_gate == 0.5
