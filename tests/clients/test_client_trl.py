"""TRL: SFTTrainer by the example script has the losses of transformers' Trainer; GRPO's generation is compressed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from finetune_data import benchmark_folder, checkpoint

import framegate
from framegate.models.tiny import tiny_pair

pytestmark = pytest.mark.clients
pytest.importorskip("trl")

ROOT = Path(__file__).parents[2]


def losses(trainer, model, data, out):
    words = {"model": model, "data": data, "output_dir": out, "trainer": trainer}
    words |= {"split": "train", "max_steps": 2, "save_steps": 2, "logging_steps": 1, "smoke": "false"}
    command = [sys.executable, str(ROOT / "examples/finetune.py"), str(ROOT / "examples/finetune/smoke.yaml")]
    command += [word for name, value in words.items() for word in (f"--{name}", str(value))]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
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


def test_a_step_of_grpo_generates_from_the_compressed_video(clip, tmp_path):
    """TRL 1.16 hands a video to generate alone: its loss sees the placeholders without it, as stock does."""
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    model, processor = tiny_pair("qwen2_5_vl")
    model.save_pretrained(tmp_path / "model")  # gives it a name, which TRL reads
    front_end, reports = framegate.attach(model, processor, keep_ratio=0.5), []

    def reward(completions, **_):
        reports.append(front_end.report)
        return [float(number) for number in range(len(completions))]

    block = {"type": "video", "video": str(clip)}
    prompt = [{"role": "user", "content": [block, {"type": "text", "text": "What moves?"}]}]
    arguments = GRPOConfig(
        output_dir=str(tmp_path / "out"),
        per_device_train_batch_size=2,
        num_generations=2,
        max_completion_length=3,
        max_steps=1,
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        report_to="none",
        save_strategy="no",
        logging_steps=1,
    )
    trainer = GRPOTrainer(
        model=model,
        processing_class=processor,
        reward_funcs=reward,
        args=arguments,
        train_dataset=Dataset.from_list([{"prompt": prompt}] * 2),
    )
    trainer.train()
    assert [report.num_videos for report in reports] == [2]
    assert reports[0].keep_ratio == pytest.approx(0.5, abs=0.01)
    assert trainer.state.log_history[0]["grad_norm"] > 0
