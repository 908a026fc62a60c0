"""TRL's SFTTrainer, by the example script: the same losses as transformers' Trainer."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from finetune_data import benchmark_folder, checkpoint

pytestmark = pytest.mark.clients
pytest.importorskip("trl")

ROOT = Path(__file__).parents[2]


def losses(trainer, model, data, out):
    words = {"model": model, "data": data, "output_dir": out, "trainer": trainer}
    words |= {"split": "train", "max_steps": 2, "save_steps": 2, "logging_steps": 1, "smoke": "false"}
    command = [sys.executable, str(ROOT / "examples/finetune.py"), str(ROOT / "examples/finetune/smoke.yaml")]
    command += [word for name, value in words.items() for word in (f"--{name}", str(value))]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    state = json.loads((out / "checkpoint-2" / "trainer_state.json").read_text())
    assert (out / "final" / "front_end_config.json").is_file()
    return [entry["loss"] for entry in state["log_history"] if "loss" in entry]


def test_sft_learns_what_the_plain_trainer_learns(tmp_path):
    model = checkpoint(tmp_path / "model", "qwen2_5_vl")
    data = benchmark_folder(tmp_path / "bench")
    plain = losses("transformers", model, data, tmp_path / "plain")
    assert len(plain) == 2
    assert losses("trl", model, data, tmp_path / "trl") == pytest.approx(plain, rel=1e-4)
