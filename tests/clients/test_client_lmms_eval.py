"""A whole task of lmms-eval, by its own command, with the model that the plug-in brings."""

import importlib.util
import json
import os
import subprocess
import sys

import pytest
from finetune_data import checkpoint

import framegate
from framegate.tools.evaluation.ask import ask

pytestmark = pytest.mark.clients
pytest.importorskip("lmms_eval")
if importlib.util.find_spec("filelock._api") is None:
    pytest.skip("lmms-eval 0.7.3 needs filelock below 4", allow_module_level=True)

QUESTION = "What moves?"
FUNCTIONS = """
def visual(doc):
    return [doc["path"]]

def text(doc, lmms_eval_specific_kwargs=None):
    return doc["question"]

def messages(doc, lmms_eval_specific_kwargs=None):
    shown = {"type": "video", "url": doc["path"]}
    return [{"role": "user", "content": [shown, {"type": "text", "text": doc["question"]}]}]

def results(doc, results):
    return {"same": float(results[0] == doc["answer"])}
"""
TASK = """
task: framegate_client
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: generate_until
doc_to_visual: !function utils.visual
doc_to_text: !function utils.text
doc_to_messages: !function utils.messages
doc_to_target: answer
process_results: !function utils.results
generation_kwargs: {{max_new_tokens: 3}}
metric_list: [{{metric: same, aggregation: mean, higher_is_better: true}}]
"""


def test_a_task_is_answered_as_framegate_answers(clip, tmp_path):
    folder = checkpoint(tmp_path / "model", "qwen3_vl")
    task, out = tmp_path / "task", tmp_path / "out"
    task.mkdir()
    asked = {"id": "1", "path": str(clip), "question": QUESTION, "answer": "a block"}
    (task / "data.jsonl").write_text(json.dumps(asked) + "\n")
    (task / "utils.py").write_text(FUNCTIONS)
    (task / "client.yaml").write_text(TASK.format(data=task / "data.jsonl"))
    command = [sys.executable, "-m", "lmms_eval", "--model", "framegate", "--tasks", "framegate_client"]
    command += ["--model_args", f"pretrained={folder},keep_ratio=0.5,fps=4,device=cpu"]
    command += ["--include_path", str(task), "--output_path", str(out), "--log_samples"]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path / "hub"),
    }
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    (samples,) = out.rglob("*_samples_framegate_client.jsonl")
    (row,) = map(json.loads, samples.read_text().splitlines())
    model, processor = framegate.from_pretrained(
        folder, framegate.load_config("framegate", keep_ratio=0.5, fps=4)
    )
    answer = ask(model, processor, video=str(clip), question=QUESTION, max_new_tokens=3)
    assert row["filtered_resps"].strip() == answer.text
    assert row["token_counts"][0]["input_tokens"] == answer.input_tokens
