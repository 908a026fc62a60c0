"""Tables of benchmarks/answers from a small table written by hand."""

import csv

import pytest
from answers import plans, summary, tables
from answers.bench_answers import ALL_SERIES, COLUMNS, asking_of, put, twins_of
from answers.rows import pooled, rows_of

import framegate
from framegate.tokenizers.samplers import sampler_names
from framegate.tools.evaluation import read_folder
from framegate.tools.evaluation.generator import write_dataset
from framegate.tools.evaluation.results import Results


def row(name, keep_ratio, value, *, tower_ratio="0.25", series="budget", fps="4", **more):
    told = {"weights": "training_free", "split": "test", "size": "all", "camera": "all", "series": series}
    told |= {"name": name, "tower_ratio": tower_ratio, "keep_ratio": keep_ratio, "fps": fps}
    told |= {"kind": "headline", "metric": "correct", "tower_share": tower_ratio, "prompt_share": keep_ratio}
    spread = dict.fromkeys(("value", "low", "high"), value) | dict.fromkeys(summary.OF_DENSE, value)
    return dict.fromkeys(COLUMNS, "") | told | spread | more


ROWS = [
    row("dense", "1", "0.8", tower_ratio="1"),
    row("framegate", "0.25", "0.79", over_rival="-0.02", over_rival_low="-0.03", over_rival_high="0.01"),
    row("gate", "0.25", "0.7"),
    row("vidcom2, whole tower", "0.25", "0.81", tower_ratio="1"),
    row("rlt", "0.25", "0.6"),
]


@pytest.fixture
def shown(monkeypatch):
    """Lines of a table of `answers.tables`, made of rows given here."""

    def lines(make, rows):
        own = tables.read
        monkeypatch.setattr(
            tables, "read", lambda *path: own(*path) if path == (tables.FIRST_TOKEN,) else rows
        )
        found = []
        make(lambda header, body: found.extend([header, *body]) or "")
        return found

    return lines


def test_targets_are_met_by_the_lower_end_and_the_rest_says_so(shown):
    close = row("framegate", "0.25", "0.98", of_dense_low="0.96")
    found = [line[-1] for line in shown(tables.targets, [close])[1:]]
    assert found == ["the point alone"]
    assert shown(tables.targets, [row("framegate", "0.25", "0.98")])[1][-1] == "yes"
    assert shown(tables.targets, [row("framegate", "0.25", "0.9")])[1][-1] == "no"


def test_the_default_is_held_against_what_costs_the_tower_no_more(shown):
    lines = {line[0].split(": ")[-1]: line for line in shown(tables.targets, ROWS)}
    assert lines["right answers over VidCom2's at the same prompt"][-1] == "no"  # the point is below -0.01
    above = lines["of dense, above every baseline whose tower share is at most ours"]
    assert above[-2:] == ["0.790, gate 0.700", "yes"]


def test_the_first_table_is_of_the_test_split_alone(shown):
    lines = shown(tables.headline, [*ROWS, row("framegate", "0.25", "0.5", split="validation")])
    assert [line[3] for line in lines if "framegate" in line[0]] == ["0.790 (0.790 to 0.790)"]


def test_plans_stand_alone_and_behind_the_gate(shown, monkeypatch, tmp_path):
    told = {"series": "plans", "tokens_kept": "192", "videos": "2", "over_rival": "0.4"}
    told |= {"over_rival_low": "0.1", "over_rival_high": "0.6"}
    monkeypatch.setattr(tables, "PLANS", tmp_path)
    rows = [
        row(name, "0.25" if gated else "", "0.5", tower_ratio="0.25" if gated else "1", kind=kind, **told)
        for gated in (True, False)
        for name in ("uniform", "tass, text")
        for kind in ("headline", "appears")
    ]
    _, *lines = shown(tables.plans, rows)
    assert [line[:4] for line in lines] == [
        ["uniform", "", "2", "192"],
        ["tass, text", "", "2", "192"],
        ["uniform", "yes", "2", "192"],
        ["tass, text", "yes", "2", "192"],
    ]
    assert lines[1][4:6] == ["0.500 (0.500 to 0.500)", "0.400 (0.100 to 0.600)"]


def test_tokens_that_grow_with_the_root_of_the_rate_have_exponent_one_half():
    rows = [{"fps": str(fps), "tokens_kept": str(100 * fps**0.5)} for fps in (1, 2, 4, 8, 16)]
    assert summary.exponent(rows, "tokens_kept") == pytest.approx(0.5)


def test_a_run_again_takes_its_rows_place(tmp_path):
    path = tmp_path / "answers.csv"
    put(path, ROWS[:2])
    put(path, [row("framegate", "0.25", "0.7")])
    with path.open(newline="") as file:
        found = {line["name"]: line["value"] for line in csv.DictReader(file)}
    assert found == {"dense": "0.8", "framegate": "0.7"}


def test_every_run_has_a_file_of_its_own():
    runs = [run for series in ALL_SERIES.values() for run in series()]
    plain = [
        run
        for run in runs
        if run.preset == "dense" and run.markers and run.videos == "shared" and "sampler" not in run.overrides
    ]
    others = [run.label for run in runs if run not in plain]
    assert len(others) == len(set(others))
    assert len({run.label for run in plain}) == len({(run.camera, run.fps) for run in plain})


def test_every_run_can_be_attached():
    for series in ALL_SERIES.values():
        for run in series():
            framegate.load_config(run.preset, **run.settings)


def test_a_plan_is_held_against_uniform_frames_under_its_own_budget():
    runs = list(plans.plans())
    for run in runs:
        dense, rival = twins_of(run, "training_free")
        assert dense.name == "dense"
        if run.name == "uniform":
            assert rival is None
            continue
        shares = [{name: one.overrides.get(name) for name in plans.GATE} for one in (run, rival)]
        assert rival.name == "uniform"
        assert shares[0] == shares[1]
    assert {run.overrides["sampler"] for run in runs} == {*sampler_names()} - {"fps"}


def test_frames_are_scored_by_a_model_that_no_run_puts_a_gate_on(tmp_path):
    asking = asking_of("framegate/nano", tmp_path, markers=True)
    (behind_gate,) = (run for run in plans.plans() if run.scorer == "yes" and run.preset == "framegate")
    with framegate.attach(asking.model, asking.processor, "framegate"):
        judge = asking.arguments(behind_gate)["scorer"].scorer
        assert framegate.front_end_of(judge.model) is None


def answered(right, *, kind="text_at", camera="still"):
    """Results of four questions about two videos; `right` tells which were answered right."""
    meta = {"camera": camera, "stands_seconds": 1.0}
    costs = {"video_tokens_dense": 100, "video_tokens_kept": 25, "video_cells_encoded": 50}
    rows = [
        {"id": f"q{number}", "kind": kind, "video": f"v{number // 2}", "status": "ok", "correct": float(one)}
        | {
            "exact_match": float(one),
            "cer": 0.0,
            "token_f1": 0.0,
            "doc": {"meta": meta},
            "after_tower_ms": 2.0,
        }
        | costs
        | {"input_seconds": None, "first_token_seconds": None, "generate_seconds": None}
        for number, one in enumerate(right)
    ]
    return Results({"questions": "abc", "num_questions": len(rows), "preset": "x"}, tuple(rows))


def test_what_dense_does_not_know_is_no_loss_and_a_lucky_guess_no_gain():
    found = rows_of(answered([1, 0, 0, 1]), answered([1, 1, 0, 0]))
    by = {(row["kind"], row["metric"]): row for row in found}
    assert by["headline", "correct"]["value"] == 0.5
    assert by["headline", "correct"]["of_dense"] == 1.0
    assert by["headline", "still_right"]["value"] == 0.5
    assert by["headline", "still_right"]["n"] == 2
    assert by["text_at, long", "correct"]["n"] == 4
    assert ("text_at, short", "correct") not in by
    assert (by["headline", "correct"]["tower_share"], by["headline", "correct"]["prompt_share"]) == (
        0.5,
        0.25,
    )


def test_the_rival_is_held_beside_pair_by_pair():
    found = rows_of(answered([1, 0, 0, 1]), answered([1, 1, 0, 0]), rival=answered([1, 1, 1, 1]))
    by = {(row["kind"], row["metric"]): row for row in found}
    assert by["headline", "correct"]["over_rival"] == -0.5
    assert by["headline", "correct"]["difference"] == 0.0


def test_kinds_with_metrics_of_their_own_are_held_together():
    texts, times = answered([1, 0, 1, 1]), answered([1, 1, 0, 0], kind="when")
    moved = tuple(
        {name: value for name, value in row.items() if name not in ("exact_match", "cer", "token_f1")}
        | {"id": f"w{row['id']}", "time_error_seconds": 0.2}
        for row in times.rows
    )
    both = pooled([texts, Results(times.header, moved)])
    by = {(row["kind"], row["metric"]): row["value"] for row in rows_of(both, both)}
    assert by["all", "correct"] == 5 / 8
    assert by["all", "still_right"] == 1.0
    assert by["when", "time_error_seconds"] == pytest.approx(0.2)


def test_kinds_that_are_near_chance_stand_beside_the_headline():
    found = rows_of(answered([1, 1, 1, 1], kind="count"), answered([1, 1, 1, 1], kind="count"))
    assert {row["kind"] for row in found} == {"all", "count"}


def test_sets_are_pooled_with_all_their_questions():
    both = pooled([answered([1, 0, 1, 0]), answered([1, 1, 1, 1])])
    assert (both.header["num_questions"], len(both.rows)) == (8, 8)
    assert rows_of(both, both, "moving") == []
    # the same names in both sets are other questions
    by = {(row["kind"], row["metric"]): row for row in rows_of(both, pooled([answered([1, 0, 1, 0])] * 2))}
    assert by["headline", "correct"]["of_dense"] == 6 / 4
    assert by["headline", "still_right"]["n"] == 4


def test_without_markers_no_time_is_left_in_the_prompt(tmp_path):
    write_dataset(tmp_path / "set", videos=1, questions=1, duration_seconds=1.0, show_progress=False)
    (question,) = read_folder(tmp_path / "set").questions
    said = {}
    for markers in (True, False):
        asking = asking_of("framegate/nano", tmp_path, markers=markers)
        model, processor = asking.model, asking.processor
        with framegate.attach(model, processor, "framegate", fps=4, keep_ratio=0.5):
            content = [{"type": "video", "path": str(question.path)}, {"type": "text", "text": "What?"}]
            inputs = processor.apply_chat_template(
                [{"role": "user", "content": content}], tokenize=True, return_dict=True, return_tensors="pt"
            )
        said[markers] = processor.tokenizer.decode(inputs["input_ids"][0])
    assert said[True].count(" seconds>") == 2
    assert said[False].count(" seconds>") == 0
