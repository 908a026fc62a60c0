"""Tables of benchmarks/answers from a small table written by hand."""

import csv

import pytest
from answers import summary
from answers.bench_answers import COLUMNS, pair, put
from answers.series import SERIES

import framegate
from framegate.tools.evaluation import read_folder
from framegate.tools.evaluation.generator import write_dataset


def row(
    name, keep_ratio, value, *, of_dense="", series="budget", kind="all", metric="correct", fps="4", kept="96"
):
    return dict.fromkeys(COLUMNS, "") | {
        "weights": "training_free",
        "series": series,
        "name": name,
        "keep_ratio": keep_ratio,
        "fps": fps,
        "kind": kind,
        "metric": metric,
        "value": value,
        "low": value,
        "high": value,
        "of_dense": of_dense,
        "of_dense_low": of_dense,
        "of_dense_high": of_dense,
        "tokens_dense": "384",
        "tokens_kept": kept,
        "input_seconds": "0.1",
        "first_token_seconds": "0.2" if name == "dense" else "0.05",
    }


ROWS = [
    row("dense", "", "0.8", kept="384"),
    row("framegate", "0.25", "0.79", of_dense="0.9875"),
    row("gate", "0.25", "0.795", of_dense="0.99"),
    row("rlt", "0.25", "0.6", of_dense="0.75"),
    row("random", "0.25", "0.1", of_dense="0.125"),
    row("down_scaling", "0.25", "0", kept=""),
]


def test_the_verdict_compares_with_the_target_and_the_best_baseline():
    _, (line,) = summary.verdict_rows(ROWS, "training_free")
    # the gate is ours: no baseline; what could not run is none either
    assert line[0] == "25%"
    assert line[3:6] == ["99%", "no", "rlt"]
    assert (line[7], line[-1]) == ("rlt", "yes")
    # what runs the whole tower counts, and is told apart
    _, (line,) = summary.verdict_rows([*ROWS, row("vidcom2", "0.25", "0.795")], "training_free")
    assert (line[5], line[7], line[-1]) == ("rlt", "vidcom2", "no")
    _, (alone,) = summary.verdict_rows(ROWS[:2], "training_free")
    assert alone[5:] == ["", "", "", "", ""]


def test_a_method_that_could_not_run_is_said_to():
    _, body = summary.budget_rows(ROWS, "training_free")
    assert {line[0]: line[-1] for line in body}["down_scaling"] == "cannot"


def test_tokens_that_grow_with_the_root_of_the_rate_have_exponent_one_half():
    rows = [
        row(
            "gate",
            "",
            "0.5",
            series="fps",
            kind="text_at",
            metric="exact_match",
            fps=str(fps),
            kept=str(100 * fps**0.5),
        )
        for fps in (1, 2, 4, 8, 16)
    ]
    assert summary.exponent(rows, "training_free", "gate") == pytest.approx(0.5)


def test_speed_is_told_with_and_without_the_inputs():
    measured = {"dense_first_token_ms": "200", "framegate_first_token_ms": "50"}
    first, whole = summary.first_token_speedup(
        measured | {"dense_inputs_ms": "100", "framegate_inputs_ms": "100"}
    )
    assert first == pytest.approx(4)
    assert whole == pytest.approx(2)


def test_a_run_again_takes_its_rows_place(tmp_path):
    path = tmp_path / "answers.csv"
    put(path, ROWS[:2])
    put(path, [row("framegate", "0.25", "0.7")])
    with path.open(newline="") as file:
        found = {line["name"]: line["value"] for line in csv.DictReader(file)}
    assert found == {"dense": "0.8", "framegate": "0.7"}


def test_every_run_has_a_file_of_its_own():
    runs = [run for series in SERIES.values() for run in series()]
    plain = [run for run in runs if run.preset == "dense" and run.markers]
    others = [run.label for run in runs if run not in plain]
    assert len(others) == len(set(others))
    assert len({run.label for run in plain}) == len({(run.camera, run.overrides["fps"]) for run in plain})


def test_without_markers_no_time_is_left_in_the_prompt(tmp_path):
    write_dataset(tmp_path / "set", videos=1, questions=1, duration_seconds=1.0, show_progress=False)
    (question,) = read_folder(tmp_path / "set").questions
    said = {}
    for markers in (True, False):
        model, processor = pair("framegate/nano", markers=markers)
        with framegate.attach(model, processor, "framegate", fps=4, keep_ratio=0.5):
            content = [{"type": "video", "path": str(question.path)}, {"type": "text", "text": "What?"}]
            inputs = processor.apply_chat_template(
                [{"role": "user", "content": content}], tokenize=True, return_dict=True, return_tensors="pt"
            )
        said[markers] = processor.tokenizer.decode(inputs["input_ids"][0])
    assert said[True].count(" seconds>") == 2
    assert said[False].count(" seconds>") == 0
