"""Intervals over videos: against the closed form, the clusters, and pairs of runs."""

import csv

import numpy as np
import pytest

from framegate.errors import ConfigError
from framegate.tools.evaluation.results import Results
from framegate.tools.evaluation.summary import COLUMNS, Resampling, append_csv, compare, csv_rows, summarise


def test_one_question_a_video_is_the_known_interval_of_a_proportion():
    values = [1.0] * 60 + [0.0] * 140
    found = Resampling([f"v{n}" for n in range(200)], seed=0, resamples=20000).mean(values)
    spread = 1.96 * np.sqrt(0.3 * 0.7 / 200)
    assert found.value == pytest.approx(0.3)
    assert (found.low, found.high) == pytest.approx((0.3 - spread, 0.3 + spread), abs=0.006)


def test_answers_that_agree_within_a_video_widen_the_interval_by_the_root_of_their_number():
    # continuous values: ends of an interval of zeros and ones lie on a grid of hundredths
    per_video = np.random.default_rng(0).normal(size=100)

    def interval(videos, values):
        return Resampling([f"v{n}" for n in videos], seed=1, resamples=20000).mean(list(values))

    alone = interval(range(100), per_video)
    nine = interval(np.arange(900) // 9, np.repeat(per_video, 9))
    apart = interval(range(900), np.repeat(per_video, 9))
    assert (nine.low, nine.high) == pytest.approx((alone.low, alone.high))
    assert (nine.high - nine.low) / (apart.high - apart.low) == pytest.approx(3, rel=0.03)


def test_the_same_seed_gives_the_same_interval():
    videos, values = [f"v{n}" for n in range(20)], [float(n * n) for n in range(20)]
    assert Resampling(videos, seed=3).mean(values) == Resampling(videos, seed=3).mean(values)
    assert Resampling(videos, seed=3).mean(values) != Resampling(videos, seed=4).mean(values)


def test_one_video_has_no_interval():
    found = Resampling(["v0", "v0"], seed=0).mean([1.0, 0.0])
    assert (found.value, found.low, found.high) == (0.5, None, None)


def test_missing_values_are_left_out():
    drawn = Resampling(["a", "b", "c"], seed=0)
    assert drawn.mean([1.0, None, 3.0]).value == 2
    assert drawn.mean([None, None, None]).value is None
    assert drawn.mean([1.0, None, None]).low is None


def test_equal_runs_have_a_difference_of_nothing_and_a_ratio_of_one():
    videos, values = [f"v{n}" for n in range(30)], [float(n % 2) for n in range(30)]
    drawn = Resampling(videos, seed=0)
    assert vars(drawn.difference(values, values)) == {"value": 0, "low": 0, "high": 0}
    assert vars(drawn.ratio(values, values)) == {"value": 1, "low": 1, "high": 1}


def test_pairs_are_narrower_than_two_runs_apart():
    rng = np.random.default_rng(0)
    base = (rng.random(300) < 0.6).astype(float)
    lost = base * (rng.random(300) > 0.02)
    drawn = Resampling([f"v{n}" for n in range(300)], seed=0)
    ratio = drawn.ratio(list(lost), list(base))
    assert ratio.value == pytest.approx(lost.sum() / base.sum())
    assert 0.95 < ratio.low < ratio.value < ratio.high <= 1
    alone = drawn.mean(list(base))
    assert ratio.high - ratio.low < (alone.high - alone.low) / 2


def test_a_ratio_over_nothing_is_none():
    drawn = Resampling(["a", "b", "c", "d"], seed=0)
    assert vars(drawn.ratio([1.0] * 4, [0.0] * 4)) == {"value": None, "low": None, "high": None}
    # some resamples hold none of the one right answer: no honest interval
    some = drawn.ratio([1.0, 0, 0, 0], [1.0, 0, 0, 0])
    assert (some.value, some.low) == (1, None)


def made_rows(wrong=()):
    return tuple(
        {
            "id": f"q{number}",
            "kind": "when" if number % 2 else "text_at",
            "video": f"v{number // 2}",
            "status": "error" if number in wrong else "ok",
            "correct": float(number not in wrong),
            **(
                {"time_error_seconds": None if number in wrong else 0.25}
                if number % 2
                else {"exact_match": 1.0}
            ),
            "video_tokens_dense": 100,
            "video_cells_encoded": 50,
            "video_tokens_kept": 20 + number,
            "input_seconds": 0.5,
            "first_token_seconds": 9.0 if number == 0 else 1.0,
            "generate_seconds": 2.0,
        }
        for number in range(8)
    )


def made(wrong=(), **header):
    told = {
        "questions": "abc",
        "num_questions": 8,
        "model": "m",
        "preset": "gate",
        "settings": {"threshold": 3},
    }
    return Results(
        told | {"tower_ratio": 0.5, "keep_ratio": 0.25, "fps": 4.0, "commit": "c", "command": "x"} | header,
        made_rows(wrong),
    )


def test_summary_by_kind_with_costs_of_what_was_answered():
    figures = {(figure.kind, figure.metric): figure for figure in summarise(made(wrong=(1,)))}
    assert list(figures) == [
        ("text_at", "correct"), ("text_at", "exact_match"), ("when", "correct"), ("when", "time_error_seconds"),
        ("all", "correct"),
    ]  # fmt: skip
    times = figures["when", "time_error_seconds"]
    assert (times.n, times.errors, times.estimate.value) == (4, 1, 0.25)
    assert figures["when", "correct"].estimate.value == 0.75
    assert figures["all", "correct"].estimate.value == 7 / 8
    assert times.costs["tokens_kept"] == np.mean([23, 25, 27])
    assert figures["text_at", "correct"].costs["first_token_seconds"] == 1.0  # a median: the first warms up


def test_compare_is_per_kind_and_by_id():
    found = {one.kind: one for one in compare(made(wrong=(1,)), Results(made().header, made().rows[::-1]))}
    assert found["text_at"].difference.value == 0
    assert found["when"].difference.value == -0.25
    assert found["all"].ratio.value == 7 / 8
    with pytest.raises(ConfigError, match="No question has the metric 'accuracy'"):
        compare(made(), made(), metric="accuracy")


def test_csv_rows_are_added_once(tmp_path):
    path, results = tmp_path / "new" / "summary.csv", made()
    rows = csv_rows(results, summarise(results), seed=0)
    assert append_csv(path, rows) == 5
    again = made(commit="another", command="again")
    assert append_csv(path, csv_rows(again, summarise(again), seed=0)) == 0
    assert append_csv(path, csv_rows(results, summarise(results, seed=1), seed=1)) == 5
    with path.open() as file:
        table = list(csv.DictReader(file))
    assert tuple(table[0]) == COLUMNS
    assert table[0] | {"low": "1", "high": "1"} == {
        "model": "m", "preset": "gate", "settings": '{"threshold": 3}',
        "tower_ratio": "0.5", "keep_ratio": "0.25", "fps": "4",
        "kind": "text_at", "n": "4", "metric": "correct", "value": "1", "low": "1", "high": "1",
        "tokens_dense": "100", "cells_encoded": "50", "tokens_kept": "23",
        "input_seconds": "0.5", "first_token_seconds": "1",
        "generate_seconds": "2", "errors": "0", "seed": "0", "commit": "c", "command": "x",
    }  # fmt: skip


def test_a_csv_of_other_columns_is_refused(tmp_path):
    path = tmp_path / "summary.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ConfigError, match="other columns"):
        append_csv(path, [])
    assert path.read_text() == "a,b\n1,2\n"
