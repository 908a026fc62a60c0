"""`framegate eval`: one command from a folder to a table, and mistakes in one line."""

import csv
import inspect
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
from benchmark import question, write_benchmark
from typer.testing import CliRunner

from framegate.cli import app
from framegate.models.tiny import tiny_pair
from framegate.tools.evaluation.summary import COLUMNS

QUICK = ["--fps", "4", "--keep-ratio", "0.5", "--max-new-tokens", "3"]


def invoke(*arguments):
    return CliRunner().invoke(app, ["eval", *(str(argument) for argument in arguments)])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [
        question(0),
        question(1, video="v1.mp4", kind="grid", answer="top left"),
        question(2, video="v1.mp4", time_seconds=9.5),
        "{half a row",
    ]
    return write_benchmark(tmp_path / "data", rows, videos=3)


def test_a_folder_becomes_a_table_a_summary_and_results(folder, tmp_path):
    result = invoke(folder, *QUICK)
    assert result.exit_code == 0, result.stderr
    told = " ".join(result.stdout.split())
    for words in (
        "preset framegate, tower_ratio 0.5, keep_ratio 0.5, 4 fps",
        "framegate/nano",
        "error: q2: unanswerable: 9.5 s lies outside the clip of 0.9 s",
        "3 questions, 1 errors (counted as wrong), 1 bad rows left out, 1 videos without a question",
        "wrote results.jsonl and results.csv",
    ):
        assert words in told
    assert f"bad row left out: {folder / 'questions.jsonl'}, line 4: no JSON" in result.stderr
    assert "no question about v2.mp4" in result.stderr
    assert "%|" not in result.stderr  # no progress bar off a terminal
    with (tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    overall = rows[-1]
    assert (overall["kind"], overall["n"], overall["errors"], overall["preset"]) == (
        "all",
        "3",
        "1",
        "framegate",
    )
    assert float(overall["tokens_kept"]) == float(overall["tokens_dense"]) / 2
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 4


def test_json_and_a_baseline(folder, tmp_path):
    dense = invoke(
        folder, "--preset", "dense", "--fps", 4, "--max-new-tokens", 3, "--out", "dense.jsonl", "--json"
    )
    assert dense.exit_code == 0, dense.stderr
    account = json.loads(dense.stdout)
    assert account["run"]["preset"] == "dense"
    assert list(account["errors"]) == ["q2"]
    assert account["comparisons"] == []
    both = invoke(folder, *QUICK, "--baseline", "dense.jsonl", "--csv", "results.csv")
    assert both.exit_code == 0, both.stderr
    assert "against dense.jsonl, same videos resampled" in both.stdout


def test_limit_and_kinds(folder):
    result = invoke(folder, *QUICK, "--kinds", "grid", "--limit", 1, "--json")
    assert result.exit_code == 0, result.stderr
    assert {figure["kind"] for figure in json.loads(result.stdout)["figures"]} == {"grid", "all"}


def test_a_run_without_any_answer_fails(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = write_benchmark(tmp_path / "data", [question(0, video=None)])
    result = invoke(folder, *QUICK)
    assert result.exit_code == 1
    assert "the question names no video" in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "There is no folder 'nowhere'"),
        (["."], "has no questions.jsonl"),
        (["data", "--preset", "gaet"], "Did you mean 'gate'?"),
        (["data", "--keep-ratio", "1.5"], "keep_ratio is 1.5"),
        (["data", "--kinds", "gird"], "Did you mean 'grid'?"),
        (["data", "--set", "out=x"], "out"),
        (["data", "--csv", "other.csv"], "other columns"),
        (["data", "--out", "notes.txt"], "is no header of results"),
        (["data", "--out", "x.csv"], "results and the summary"),
        (["data", "--split", "train"], "of split 'train'"),
        (["new", "--generate", "1", "--clips", "data"], "holds no clip"),
        (["data", "--baseline", "none.jsonl"], "no file of results 'none.jsonl'"),
        (["data", "--model", "no/such/model"], "'no/such/model' cannot be loaded"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(folder, tmp_path, arguments, words):
    (tmp_path / "other.csv").write_text("a,b\n")
    (tmp_path / "notes.txt").write_text("mine\n")
    result = invoke(*arguments)
    assert result.exit_code == 2, result.exception
    told = [line for line in result.stderr.strip().splitlines() if not line.startswith("warning: ")]
    assert len(told) == 1
    assert words in told[0]
    assert (tmp_path / "notes.txt").read_text() == "mine\n"


@pytest.mark.parametrize(
    ("change", "words"),
    [({"model_type": "bert"}, "bert"), ({"text_config": {"hidden_size": 128}}, "cannot be loaded")],
)
def test_a_checkpoint_that_does_not_fit_is_told(folder, tmp_path, change, words):
    for part in tiny_pair("qwen3_vl"):
        part.save_pretrained(tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text())
    for name, value in change.items():
        config[name] = config[name] | value if isinstance(value, dict) else value
    path.write_text(json.dumps(config))
    result = invoke(folder, *QUICK, "--model", tmp_path / "model")
    assert result.exit_code == 2, result.exception
    assert words in result.stderr
    assert not (tmp_path / "results.jsonl").exists()


def test_a_checkpoint_without_all_its_weights_is_told(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    for part in tiny_pair("qwen3_vl"):
        part.save_pretrained(tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    weights = load_file(path)
    whole = invoke(folder, *QUICK, "--model", tmp_path / "model", "--limit", 1, "--json")
    assert whole.exit_code == 0, whole.stderr
    assert json.loads(whole.stdout)["run"]["model"] == str(tmp_path / "model")
    gone = sorted(weights)[0]
    del weights[gone]
    save_file(weights, path, metadata={"format": "pt"})
    result = invoke(folder, *QUICK, "--model", tmp_path / "model", "--out", "other.jsonl")
    assert result.exit_code == 2, result.exception
    assert (
        f"1 weights are missing or of another shape than its config.json says, {gone} first" in result.stderr
    )


@pytest.fixture
def generator(monkeypatch):
    """A stand-in that takes what the real generator takes, writes a folder as it does, and counts its calls."""
    from framegate.tools.evaluation.generator import write_dataset as real

    calls, taken = [], inspect.signature(real)

    def write_dataset(*arguments, **settings):
        given = taken.bind(*arguments, **settings).arguments
        extra = {
            name: given[name] for name in ("pace", "size", "longest_seconds", "clips") if given.get(name)
        }
        calls.append((given["split"], given["videos"], given["seed"], *([extra] if extra else [])))
        write_benchmark(given["folder"], [question(0, meta={"split": given["split"]})], videos=1)

    module = ModuleType("framegate.tools.evaluation.generator")
    module.write_dataset = write_dataset
    monkeypatch.setitem(sys.modules, "framegate.tools.evaluation.generator", module)
    return calls


def test_data_is_generated_once(generator, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert invoke("bench", "--generate", 1, "--split", "validation", "--seed", 3, *QUICK).exit_code == 0
    assert generator == [("validation", 1, 3)]
    assert not (tmp_path / "bench.part").exists()
    other = invoke("bench", "--generate", 2, *QUICK)
    assert other.exit_code == 2
    assert "was generated with" in other.stderr
    (tmp_path / "mine").mkdir()
    assert "holds no generated data" in invoke("mine", "--generate", 2, *QUICK).stderr


def test_how_videos_are_rendered_and_real_clips_are_part_of_what_was_generated(
    generator, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    clip = tmp_path / "clips" / "a.mp4"
    clip.parent.mkdir()
    clip.touch()
    rendering = ("--pace", "rapid", "--size", "6x10", "--longest-seconds", 20)
    wanted = ("bench", "--generate", 1, *rendering, "--clips", "clips", *QUICK)
    assert [invoke(*wanted).exit_code for _ in range(2)] == [0, 0]
    given = {"pace": "rapid", "size": "6x10", "longest_seconds": 20.0, "clips": [Path("clips/a.mp4")]}
    assert generator == [("test", 1, 0, given)]
    assert "was generated with" in invoke("bench", "--generate", 1, *QUICK).stderr
    assert "--clips are of videos that are rendered" in invoke("bench", "--pace", "slow", *QUICK).stderr


def test_the_word_generated_makes_a_folder(generator, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert invoke("generated", *QUICK).exit_code == 0
    assert generator == [("test", 20, 0)]
    assert (tmp_path / "generated" / "questions.jsonl").is_file()
