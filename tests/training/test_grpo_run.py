"""examples/grpo.py end to end on a few steps, and taken up again."""

import subprocess
import sys
from pathlib import Path

import pytest

from framegate.tools.training import load_finetuned

ROOT = Path(__file__).parents[2]
SMOKE = [str(ROOT / "examples/grpo.py"), str(ROOT / "examples/grpo/smoke.yaml")]


def run(*words):
    return subprocess.run([sys.executable, *SMOKE, *map(str, words)], capture_output=True, text=True)


LOOKS = "{time_code: null, fast_frames: 4, slow_frames: 4, fps: 2.0, pad_seconds: 1, max_turns: 1}"
OWN_WORDS = LOOKS.replace("}", ", answer_words: own}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("policy", "settings", "more"),
    [
        ("love_r1", LOOKS, ()),
        (
            "love_r1",
            OWN_WORDS,
            (
                "--lora",
                "false",
                "--words_steps",
                "2",
                "--words_batch_size",
                "2",
                "--reward",
                "grounding",
                "--answer_share",
                "0",
            ),
        ),
        ("frame_thinker", "{num_frames: 2}", ("--looks_per_answer", "2")),
    ],
)
def test_a_smoke_run_trains_saves_draws_and_is_not_run_twice(policy, settings, more, tmp_path):
    pytest.importorskip("trl")
    words = ("--output_dir", tmp_path, "--policy", policy, "--policy_settings", settings, *more)
    first = run(*words)
    assert first.returncode == 0, first.stderr
    assert (tmp_path / "grpo/rewards.png").stat().st_size > 1000
    model, _ = load_finetuned(tmp_path / "grpo/final")
    assert hasattr(model, "peft_config") == ("--lora" not in more)
    assert (tmp_path / "words/final").is_dir() == ("--words_steps" in more)

    (tmp_path / "grpo/final").rename(tmp_path / "kept")
    refused = run(*words)
    assert "resume=true" in refused.stderr
    again = run(*words, "--resume", "true", "--grpo_steps", "3")
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "grpo/checkpoint-3").is_dir()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--reward", "grounding"), "answer_share is 0.5"),
        (("--least_iou", "0.3"), "least_iou is 0.3"),
        (("--policy", "frame_thinker", "--reward", "grounding"), "the policy is 'frame_thinker'"),
    ],
)
def test_settings_that_nothing_would_follow_are_refused(words, message, tmp_path):
    pytest.importorskip("trl")
    refused = run("--output_dir", tmp_path / "out", *words)
    assert message in refused.stderr
    assert not (tmp_path / "out").exists()
