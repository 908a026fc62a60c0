"""A run with a tiny model: every question has its row, broken ones too, and a run that was cut off goes on."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from benchmark import question, write_benchmark
from clips import cut_in_half

import framegate
from framegate.errors import AttachmentError, ConfigError, VideoError
from framegate.models.tiny import tiny_pair
from framegate.tokenizers.scoring import ScoredOnce
from framegate.tools.evaluation import compare, evaluate, read_folder, read_results, summarise

LMMS_COLUMNS = {"doc_id", "doc", "target", "input", "arguments", "resps", "filtered_resps", "token_counts"}
QUICK = {"fps": 4, "max_new_tokens": 3, "show_progress": False}
SHORT = {"max_new_tokens": 1, "show_progress": False}


@pytest.fixture(scope="module")
def pair():
    return tiny_pair("qwen3_vl")


@pytest.fixture
def good(tmp_path):
    rows = [
        question(0),
        question(1, video="v1.mp4", kind="grid", answer="top left"),
        question(2, kind="when", answer="0.4", time_seconds=None),
        question(3, video="v1.mp4"),
    ]
    return read_folder(write_benchmark(tmp_path / "data", rows))


def run(pair, questions, out, **changes):
    return evaluate(*pair, questions, "framegate", out=out, **QUICK | {"keep_ratio": 0.5} | changes)


def test_every_question_has_a_row_in_lmms_evals_style(pair, good, tmp_path):
    results = run(pair, good, tmp_path / "results.jsonl")
    assert [row["id"] for row in results.rows] == ["q0", "q2", "q1", "q3"]  # by video
    assert [row["doc_id"] for row in results.rows] == [0, 1, 2, 3]
    for row in results.rows:
        assert set(row) >= LMMS_COLUMNS
        assert (row["status"], row["error"]) == ("ok", None)
        assert row["target"] == row["doc"]["answer"]
        assert row["resps"] == [row["filtered_resps"]]
        assert row["video_tokens_kept"] == row["video_tokens_dense"] / 2 > 0
        assert row["token_counts"][0]["output_tokens"] <= 3
        assert 0 < row["first_token_seconds"] < row["generate_seconds"]
    # each video is read for the first of its questions
    assert [row["input_seconds"] is not None for row in results.rows] == [True, False, True, False]
    assert results.header["batch_size"] == 1
    assert results.header["settings"] == {}
    assert [results.header[name] for name in ("tower_ratio", "keep_ratio", "fps")] == [0.5, 0.5, 4]
    assert framegate.front_end_of(pair[0]) is None


def test_answers_are_those_of_a_model_that_was_attached_by_hand(pair, good, tmp_path):
    from framegate.tools.evaluation.ask import ask

    def alone(asked):
        with framegate.attach(*pair, "framegate", keep_ratio=0.5, fps=4):
            return ask(*pair, video=str(asked.path), question=asked.question, max_new_tokens=3)

    expected = [alone(asked) for asked in good.questions]
    rows = run(pair, good, tmp_path / "results.jsonl").rows
    assert [row["resps"] for row in rows] == [[answer.text] for answer in expected]
    assert [row["video_tokens_kept"] for row in rows] == [answer.report.kept_tokens for answer in expected]


@pytest.mark.parametrize(("preset", "keep_ratio"), [("framegate", 0.5), ("gate", 0.5), ("dense", 1.0)])
def test_questions_that_share_their_video_have_the_same_answers(pair, good, tmp_path, preset, keep_ratio):
    calls = []
    hook = pair[0].model.visual.register_forward_pre_hook(lambda *call: calls.append(1))
    settings = QUICK | ({} if preset == "dense" else {"keep_ratio": keep_ratio})

    def asked(name, **sharing):
        calls.clear()
        rows = evaluate(*pair, good, preset, out=tmp_path / name, **settings, **sharing).rows
        return rows, len(calls)

    alone, towers_alone = asked("alone.jsonl")
    shared, towers_shared = asked("shared.jsonl", videos="shared")
    hook.remove()
    assert [row["resps"] for row in shared] == [row["resps"] for row in alone]
    assert [row["video_tokens_kept"] for row in shared] == [row["video_tokens_kept"] for row in alone]
    assert (towers_alone, towers_shared) == (4, 2)
    assert [row["input_seconds"] is not None for row in shared] == [True, False, True, False]
    assert {row["first_token_seconds"] for row in shared} == {None}


def test_what_can_be_guessed_is_asked_without_a_video(pair, good, tmp_path):
    towers = []
    hook = pair[0].model.visual.register_forward_pre_hook(lambda *call: towers.append(1))
    rows = evaluate(*pair, good, "dense", out=tmp_path / "blind.jsonl", videos="none", **QUICK).rows
    hook.remove()
    assert {row["status"] for row in rows} == {"ok"}
    assert not towers
    assert {row["video_tokens_dense"] for row in rows} == {0}
    with pytest.raises(ConfigError, match="videos is 'one'; it must be one of each, shared, none"):
        evaluate(*pair, good, "dense", out=tmp_path / "x.jsonl", videos="one", **QUICK)


def test_what_reads_the_question_shares_no_video(pair, good, tmp_path):
    selecting = {"keep_ratio": 0.5, "videos": "shared"}
    selecting["select"] = {"select_rule": "change_floor", "use_query": True}
    rows = evaluate(*pair, good, "framegate", out=tmp_path / "out.jsonl", **QUICK, **selecting).rows
    assert {row["status"] for row in rows} == {"error"}
    assert "no text" in rows[0]["error"]


class ByWords:
    """Scores frames by the length of the question, and notes what it was asked."""

    def __init__(self):
        self.asked = []

    def score_frames(self, frames, text):
        self.asked.append(text)
        return np.arange(len(frames), dtype=float)


def test_frames_are_scored_by_each_question(pair, good, tmp_path):
    scorer, settings = ByWords(), {"keep_ratio": 0.5, "sampler": "tass", "num_frames": 2, "fps": 4}
    results = evaluate(*pair, good, out=tmp_path / "a.jsonl", scorer=scorer, max_new_tokens=1, **settings)
    assert all(row["status"] == "ok" for row in results.rows)
    assert set(scorer.asked) == {question.question for question in good.questions}
    assert results.header["scorer"] == "ByWords"
    with pytest.raises(ConfigError, match="scorer None, now|scorer 'ByWords', now None"):
        evaluate(*pair, good, out=tmp_path / "a.jsonl", max_new_tokens=1, **settings)
    with pytest.raises(ConfigError, match="videos is 'shared'"):
        evaluate(*pair, good, out=tmp_path / "b.jsonl", scorer=scorer, videos="shared", **settings)


def test_a_question_has_settings_of_the_sampler_for_itself(pair, good, tmp_path):
    def whole(question):
        return {"intervals": ((0.0, 0.5),)} if question == good.questions[0] else {}

    settings = {"sampler": "slow_fast", "fast_frames": 2, "fast_scale": 1.0}
    rows = evaluate(*pair, good, "dense", out=tmp_path / "a.jsonl", sampling=whole, **settings, **SHORT).rows
    assert rows[0]["video_tokens_dense"] > rows[1]["video_tokens_dense"]
    with pytest.raises(ConfigError, match="sampling 'whole', now None"):
        evaluate(*pair, good, "dense", out=tmp_path / "a.jsonl", **settings, **SHORT)
    with pytest.raises(ConfigError, match="videos is 'none', and frames are chosen by the question"):
        evaluate(*pair, good, "dense", out=tmp_path / "b.jsonl", sampling=whole, videos="none", **settings)


def test_a_scorer_is_kept_from_run_to_run(pair, good, tmp_path):
    scorer = ByWords()
    kept, settings = ScoredOnce(scorer), {"sampler": "tass", "num_frames": 2, "fps": 4}
    asked = []
    for name in ("a", "b"):
        evaluate(*pair, good, "dense", out=tmp_path / name, scorer=kept, **settings, **SHORT)
        asked.append(len(scorer.asked))
    assert asked[0] == asked[1] > 0


def test_the_first_token_is_timed_after_one_forward_and_the_whole_after_all(pair, good, monkeypatch):
    from framegate.tools.evaluation.ask import ask

    model, forwards = pair[0], []
    # a clock that ticks once per forward of the model: the times are counts, whatever the machine does
    clock = SimpleNamespace(perf_counter=lambda: float(len(forwards)))
    monkeypatch.setattr("framegate.tools.evaluation.ask.time", clock)
    hook = model.register_forward_hook(lambda *call: forwards.append(1))
    with framegate.attach(*pair, "framegate", keep_ratio=0.5, fps=4):
        found = ask(*pair, video=str(good.questions[0].path), question="What?", max_new_tokens=4)
    hook.remove()
    assert (found.input_seconds, found.first_token_seconds) == (0, 1)
    assert found.generate_seconds == found.output_tokens == 4


def test_what_cannot_be_asked_is_an_error_row_and_the_run_goes_on(pair, tmp_path):
    rows = [
        question(0, video="broken.mp4", time_seconds=None),
        question(1, video="nowhere.mp4"),
        question(2, video=None),
        question(3, time_seconds=7.5),
        question(4, time_seconds=-1),
        question(5, kind="when", answer="30.0", time_seconds=None),
        question(6),
    ]
    folder = write_benchmark(tmp_path / "data", rows)
    (folder / "videos" / "broken.mp4").write_bytes(b"no video at all" * 50)
    rows = {row["id"]: row for row in run(pair, read_folder(folder), tmp_path / "results.jsonl").rows}
    reasons = {name: row["error"] for name, row in rows.items()}
    assert reasons.pop("q6") is None
    assert reasons["q0"].startswith("VideoError: ")
    assert "broken.mp4" in reasons["q0"]
    assert reasons["q1"] == f"unanswerable: there is no video {folder / 'videos' / 'nowhere.mp4'}"
    assert reasons["q2"] == "unanswerable: the question names no video"
    assert reasons["q3"] == "unanswerable: 7.5 s lies outside the clip of 1 s"
    assert reasons["q4"] == "unanswerable: -1 s lies outside the clip of 1 s"
    assert reasons["q5"] == "unanswerable: 30 s lies outside the clip of 1 s"
    for name in reasons:
        assert (rows[name]["status"], rows[name]["correct"]) == ("error", 0.0)
        assert rows[name]["video_tokens_kept"] is None
    figures = {
        (figure.kind, figure.metric): figure for figure in summarise(read_results(tmp_path / "results.jsonl"))
    }
    assert (figures["all", "correct"].n, figures["all", "correct"].errors) == (7, 6)
    assert figures["text_at", "cer"].estimate.value >= 5 / 6


def test_a_run_may_end_at_the_first_question_that_fails(pair, tmp_path):
    folder = write_benchmark(
        tmp_path / "data", [question(0), question(1, video="broken.mp4"), question(2, video="v1.mp4")]
    )
    (folder / "videos" / "broken.mp4").write_bytes(b"no video at all" * 50)
    questions, out = read_folder(folder), tmp_path / "results.jsonl"
    with pytest.raises(VideoError, match="broken.mp4"):
        run(pair, questions, out, on_error="raise")
    assert [row["id"] for row in read_results(out).rows] == ["q0"]
    # taken up, the rest is asked
    assert [row["status"] for row in run(pair, questions, out).rows] == ["ok", "error", "ok"]
    with pytest.raises(ConfigError, match="on_error is 'log'. Known: raise, skip"):
        run(pair, questions, out, on_error="log")


def test_a_clip_that_ends_halfway_is_answered_or_told(pair, tmp_path):
    folder = write_benchmark(
        tmp_path / "data", [question(0, video="half_v0.mp4", time_seconds=None), question(1)]
    )
    cut_in_half(folder / "videos" / "v0.mp4")
    first, second = sorted(
        run(pair, read_folder(folder), tmp_path / "results.jsonl").rows, key=lambda row: row["id"]
    )
    assert first["status"] == "error"
    assert "half_v0.mp4" in first["error"]
    assert second["status"] == "ok"


def test_a_bug_of_ours_is_no_error_row(pair, good, tmp_path, monkeypatch):
    def broken(*arguments, **settings):
        raise KeyError("a bug of ours")

    monkeypatch.setattr("framegate.tools.evaluation.runner.ask", broken)
    with pytest.raises(KeyError):
        run(pair, good, tmp_path / "results.jsonl")
    assert framegate.front_end_of(pair[0]) is None


def test_no_memory_for_one_video_is_an_error_row(pair, good, tmp_path, monkeypatch):
    from framegate.tools.evaluation import runner

    def asked(*arguments, ask=runner.ask, **settings):
        if settings["video"].endswith("v1.mp4"):
            raise MemoryError("Unable to allocate 9.00 TiB")
        return ask(*arguments, **settings)

    monkeypatch.setattr(runner, "ask", asked)
    rows = run(pair, good, tmp_path / "results.jsonl").rows
    assert [row["status"] for row in rows] == ["ok", "ok", "error", "error"]
    assert rows[2]["error"] == "MemoryError: Unable to allocate 9.00 TiB"


def test_a_run_that_was_cut_off_goes_on(pair, good, tmp_path, monkeypatch):
    from framegate.tools.evaluation import runner

    whole, out = run(pair, good, tmp_path / "whole.jsonl"), tmp_path / "results.jsonl"
    lines = (tmp_path / "whole.jsonl").read_bytes().splitlines(keepends=True)
    out.write_bytes(b"".join(lines[:3]) + lines[3][: len(lines[3]) // 2])  # header, two rows, half a row
    asked = []
    monkeypatch.setattr(
        runner, "ask", lambda *a, ask=runner.ask, **k: asked.append(k["video"]) or ask(*a, **k)
    )
    results = run(pair, good, out)
    assert [path[-6:] for path in asked] == ["v1.mp4", "v1.mp4"]
    assert [row["id"] for row in results.rows] == [row["id"] for row in whole.rows]
    assert [row["resps"] for row in results.rows] == [row["resps"] for row in whole.rows]
    asked.clear()
    assert run(pair, good, out).rows == results.rows
    assert asked == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"keep_ratio": 0.25}, "config "),
        ({"max_new_tokens": 4}, "max_new_tokens 3, now 4"),
        ({"model_name": "another"}, "now 'another'"),
    ],
)
def test_results_of_another_run_are_refused(pair, good, tmp_path, changes, words):
    out = tmp_path / "results.jsonl"
    run(pair, good.select(limit=1), out)
    before = out.read_bytes()
    with pytest.raises(ConfigError, match="holds results of another run") as told:
        run(pair, good.select(limit=1), out, **changes)
    assert words in str(told.value)
    assert out.read_bytes() == before


def test_other_questions_and_other_weights_are_refused(pair, good, tmp_path):
    out = tmp_path / "results.jsonl"
    run(pair, good.select(limit=1), out)
    with pytest.raises(ConfigError, match="questions "):
        run(pair, good, out)
    with pytest.raises(ConfigError, match="weights "):
        run(tiny_pair("qwen3_vl", seed=1), good.select(limit=1), out)


def test_a_front_end_that_learned_more_is_another_run(pair, good, tmp_path):
    model, stock, saved = pair[0], dict(pair[0].named_parameters()), tmp_path / "saved"
    one, settings = good.select(limit=1), {"out": tmp_path / "results.jsonl", **QUICK}
    with framegate.attach(*pair, "framegate", spatiotemporal={}):
        model.save_pretrained(saved)
    evaluate(*pair, one, saved, **settings)
    with framegate.attach(*pair, saved):
        for name, weight in model.named_parameters():
            if name not in stock:
                weight.data.add_(0.1)
        model.save_pretrained(saved)
    with pytest.raises(ConfigError, match="learned "):
        evaluate(*pair, one, saved, **settings)


def test_another_video_under_the_same_name_is_another_benchmark(pair, good, tmp_path):
    before = good.digest()
    good.questions[0].path.write_bytes(good.questions[0].path.read_bytes() + b"\0")
    assert good.digest() != before


def test_a_model_with_a_front_end_is_refused(pair, good, tmp_path):
    with framegate.attach(*pair, "gate"), pytest.raises(AttachmentError):
        run(pair, good, tmp_path / "results.jsonl")
    assert not (tmp_path / "results.jsonl").exists()


def test_two_runs_are_compared_on_the_same_questions(pair, good, tmp_path):
    dense = evaluate(*pair, good, "dense", out=tmp_path / "dense.jsonl", **QUICK)
    kept = run(pair, good, tmp_path / "kept.jsonl")
    found = compare(kept, dense, metric="correct")
    assert [(one.kind, one.n) for one in found] == [("text_at", 2), ("when", 1), ("grid", 1), ("all", 4)]
    assert all(row["video_tokens_kept"] == row["video_tokens_dense"] for row in dense.rows)
    with pytest.raises(ConfigError, match="not of the same questions"):
        compare(run(pair, good.select(limit=1), tmp_path / "one.jsonl"), dense)
    with pytest.raises(ConfigError, match="answered 3 of 4"):
        compare(type(kept)(kept.header, kept.rows[:3]), dense)


def test_the_commit_is_that_of_a_checkout_which_tracks_this_package(tmp_path, monkeypatch):
    import subprocess

    from framegate import provenance

    def git(*words):
        named = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", str(tmp_path), *named, *words], check=True, capture_output=True)

    monkeypatch.delenv("FRAMEGATE_COMMIT", raising=False)
    place = tmp_path / "venv" / "provenance.py"
    place.parent.mkdir()
    place.write_text("installed here")
    monkeypatch.setattr(provenance, "__file__", str(place))
    assert provenance.commit() == ""
    git("init")
    git("commit", "--allow-empty", "-m", "somebody else's work")
    assert provenance.commit() == ""
    git("add", "venv")
    git("commit", "-m", "ours")
    assert len(provenance.commit()) >= 7
    place.write_text("changed")
    assert provenance.commit().endswith("+")
    monkeypatch.setenv("FRAMEGATE_COMMIT", "abc1234")
    assert provenance.commit() == "abc1234"


def test_the_header_is_the_first_line(pair, good, tmp_path):
    run(pair, good.select(limit=1), tmp_path / "results.jsonl", command="framegate eval data")
    header = json.loads((tmp_path / "results.jsonl").read_text().splitlines()[0])["framegate_eval"]
    assert header["command"] == "framegate eval data"
    assert header["num_questions"] == 1
    assert header["versions"]["framegate"] == framegate.__version__
