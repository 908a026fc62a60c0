"""The line that the guide shows, run as it stands by the released lmms-eval: answers are framegate's own."""

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from finetune_data import checkpoint

import framegate
from framegate.tools.evaluation.ask import ask

pytestmark = pytest.mark.clients
pytest.importorskip("lmms_eval")
if importlib.util.find_spec("filelock._api") is None:
    pytest.skip("lmms-eval 0.7.3 needs filelock below 4", allow_module_level=True)

ROOT = Path(__file__).parents[2]


def guide_command():
    """The one line of the guide that starts lmms-eval."""
    text = (ROOT / "docs/guides/evaluate.md").read_text()
    (line,) = re.findall(r"^\$ python (-m lmms_eval .*)$", text, re.MULTILINE)
    return shlex.split(line)


@pytest.mark.parametrize("pretrained", ["framegate/nano", "qwen3_vl"])
def test_a_task_is_answered_as_framegate_answers(pretrained, tmp_path):
    name = pretrained if "/" in pretrained else str(checkpoint(tmp_path / "model", pretrained))
    command = guide_command()
    args = command.index("--model_args") + 1
    command[args] = command[args].replace("framegate/nano", name) + ",device=cpu"
    command[command.index("--output_path") + 1] = str(tmp_path / "out")
    home = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
    done = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=600,
        env=os.environ | home,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (samples,) = (tmp_path / "out").rglob("*_samples_framegate_codes.jsonl")
    rows = {row["doc_id"]: row for row in map(json.loads, samples.read_text().splitlines())}
    asked = [json.loads(line) for line in (ROOT / "examples/lmms_eval/codes.jsonl").open()]
    assert len(rows) == len(asked) == 2
    model, processor = framegate.from_pretrained(
        name, framegate.load_config("framegate", keep_ratio=0.25, fps=4)
    )
    for number, row in enumerate(asked):
        answer = ask(
            model, processor, video=str(ROOT / row["video"]), question=row["question"], max_new_tokens=8
        )
        assert rows[number]["filtered_resps"].strip() == answer.text
        assert rows[number]["token_counts"][0]["input_tokens"] == answer.input_tokens
        assert (answer.text == row["answer"]) == (pretrained == "framegate/nano")
