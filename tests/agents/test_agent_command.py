"""`framegate agent`: turns of a script or of a model, as text, JSON and a page."""

import json
from importlib import resources

import pytest
from typer.testing import CliRunner

from framegate.cli import app
from framegate.errors import ConfigError

CLIP = str(resources.files("framegate") / "assets" / "codes.mp4")
QUESTION = "What text stands at 4.9 seconds?"


def invoke(*arguments):
    return CliRunner().invoke(app, ["agent", CLIP, QUESTION, *map(str, arguments)])


def test_a_script_as_text_and_a_page(tmp_path):
    script, page = tmp_path / "turns.txt", tmp_path / "new" / "page.html"
    look = "<think>it</think>\n<action>choose frames between 60 and 90</action>"
    script.write_text(f"{look}\n---\n<think>so</think><action>output answer: 7HP</action>\n")
    result = invoke("--policy", "frame_thinker", "--script", script, "--html", page)
    assert result.exit_code == 0, result.stderr
    assert "turn 1: 8 frames" in result.stdout
    assert "choose: start 60, end 90" in result.stdout
    assert "answer: 7HP (stopped: answered)" in result.stdout
    assert page.read_text().count("<img ") == 16


def test_a_script_as_json(tmp_path):
    script = tmp_path / "turns.json"
    script.write_text(json.dumps(["\\boxed{[3, 5]}", "\\boxed{7HP}"]))
    settings = ["--policy-set", "slow_frames=4", "--policy-set", "time_code=null"]
    result = invoke("--policy", "love_r1", "--script", script, "--json", *settings)
    told = json.loads(result.stdout)
    assert (told["answer"], told["stopped"], len(told["turns"])) == ("7HP", "answered", 2)
    assert told["turns"][1]["looked_at"]["group"].count(1) == 4


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["frame_thinker", "love_r1", "earl", "chronoforge", "sevila"])
def test_each_policy_runs_with_the_shipped_model(policy):
    once = [
        word
        for value in ("temperature=null", "attempts=1", "max_turns=1")
        for word in ("--policy-set", value)
    ]
    result = invoke("--policy", policy, "--constrained", "--max-new-tokens", 200, "--json", *once)
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert not [turn for turn in told["turns"] if turn["action"]["kind"] == "invalid"]
    assert told["totals"]["video_tokens"] > 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--policy", "frame_thinkr"], "Did you mean 'frame_thinker'"),
        (["--policy", "earl", "--policy-set", "initial_frames=0"], "earl.initial_frames is 0"),
        (["--policy", "earl", "--script", "none.txt"], "none.txt"),
        (["--policy", "earl", "--scorer", "tower"], "--scorer is sevila's"),
        (["--policy", "earl", "--script", "none.txt", "--constrained"], "leave --constrained off"),
    ],
)
def test_mistakes_are_one_line(arguments, words):
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert words in result.stderr


@pytest.mark.parametrize(("policy", "is_told"), [("love_r1", True), ("chronoforge", False)])
def test_who_asks_the_shipped_model_to_look_is_told(policy, is_told, monkeypatch):
    monkeypatch.setattr("framegate.cli.run.load_pair", refuse)
    assert ("never taught where to look" in invoke("--policy", policy).stderr) is is_told
    assert "never taught" not in invoke("--policy", policy, "--family", "qwen3_vl").stderr


def refuse(*_):
    raise ConfigError("no model is loaded here")
