"""Metrics against values worked out by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framegate.tools.evaluation.metrics import (
    cell_in,
    check_answer,
    edit_distance,
    parse_seconds,
    score,
    token_f1,
)


def test_text_is_compared_without_case_and_spacing():
    exact = {"correct": 1.0, "exact_match": 1.0, "cer": 0.0, "wer": 0.0, "token_f1": 1.0}
    assert score("text_at", "  7kp \n", "7KP") == exact
    assert score("order", "one\ttwo", "One  Two") == exact
    assert score("text_at", "7KP.", "7KP")["exact_match"] == 0


def test_text_scores_by_hand():
    # "7KR" for "7KP": one of three characters; no word right
    assert score("text_at", "7KR", "7KP") == pytest.approx(
        {"correct": 0, "exact_match": 0, "cer": 1 / 3, "wer": 1, "token_f1": 0}
    )
    # five words said, three right ones, of them "a" twice: 2 * 3 / (5 + 4)
    found = score("subtitle", "a a b x y", "a a b c")
    assert found["token_f1"] == pytest.approx(6 / 9)
    assert found["wer"] == pytest.approx(2 / 4)  # x for c, y too many
    assert found["cer"] == pytest.approx(3 / 7)  # x for c, " y" too many


def test_error_rates_may_exceed_one_and_an_empty_answer_is_all_wrong():
    assert score("text", "abcdef", "x")["cer"] == 6
    assert score("text", "", "7KP") == {"correct": 0, "exact_match": 0, "cer": 1, "wer": 1, "token_f1": 0}


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [
        ("kitten", "sitting", 3),
        ("", "abc", 3),
        ("abc", "", 3),
        ("", "", 0),
        ("flaw", "lawn", 2),
        ("ab", "ba", 2),
    ],
)
def test_edit_distance(one, other, distance):
    assert edit_distance(one, other) == distance


def by_definition(one, other):
    if not one or not other:
        return len(one) + len(other)
    return min(
        by_definition(one[1:], other) + 1,
        by_definition(one, other[1:]) + 1,
        by_definition(one[1:], other[1:]) + (one[0] != other[0]),
    )


@given(st.text("ab", max_size=5), st.text("ab", max_size=5))
def test_edit_distance_is_that_of_the_definition(one, other):
    assert edit_distance(one, other) == by_definition(one, other)


def test_token_f1_of_nothing():
    assert token_f1("", "") == 1
    assert token_f1("a", "") == token_f1("", "a") == 0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("3.2", 3.2),
        ("At 3 seconds", 3),
        ("1:03.5", 63.5),
        ("It is at 01:02:03.", 3723),
        ("-1.5 s", -1.5),
        ("7KP appears at 3.2s", 3.2),  # the digit of a code is no time
        ("K7 from 2.5-3.5 seconds", 2.5),
        ("_3.2_", 3.2),
        ("3.25x", None),
        ("7KP", None),
        ("never", None),
        ("", None),
    ],
)
def test_times_are_read(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize(
    ("said", "error", "near"),
    [("3.2", 0, 1), ("2.7", 0.5, 1), ("3.8", 0.6, 0), ("after 3.4 s", 0.2, 1)],
)
def test_time_errors_are_in_seconds(said, error, near):
    found = score("when", said, "3.2")
    assert found["time_error_seconds"] == pytest.approx(error)
    assert (found["within_half_second"], found["correct"], found["time_missing"]) == (near, near, 0)


def test_an_answer_without_a_time_is_a_miss_with_no_error():
    missed = {"correct": 0.0, "within_half_second": 0.0, "time_error_seconds": None, "time_missing": 1.0}
    assert score("when", "soon", "3.2") == missed


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("top left", (1, 1)),
        ("top", (1, 2)),
        ("Top-Right", (1, 3)),
        ("left", (2, 1)),
        ("centre", (2, 2)),
        ("middle", (2, 2)),
        ("right", (2, 3)),
        ("bottomleft", (3, 1)),
        ("The marker is at the bottom.", (3, 2)),
        ("lower_right", (3, 3)),
        ("left top", (1, 1)),
        ("middle left", (2, 1)),
        ("top centre", (1, 2)),
        ("r2c3", (2, 3)),
        ("top left or top right", None),
        ("stop leftover", None),
        ("", None),
    ],
)
def test_cells_are_read(text, cell):
    assert cell_in(text) == cell


def test_the_generators_names_are_nine_cells():
    from framegate.tools.evaluation.generator.script import GRID_NAMES

    cells = [cell_in(name) for row in GRID_NAMES for name in row]
    assert cells == [(row, column) for row in (1, 2, 3) for column in (1, 2, 3)]


def test_grid_accuracy():
    assert score("grid", "It is top left.", "top left") == {"correct": 1.0, "grid_accuracy": 1.0}
    assert score("grid", "top", "top left") == {"correct": 0.0, "grid_accuracy": 0.0}
    assert score("grid", "", "top left")["grid_accuracy"] == 0


@pytest.mark.parametrize(("kind", "answer"), [("when", "soon"), ("count", "3.5"), ("grid", "up there")])
def test_answers_that_cannot_be_scored_are_refused(kind, answer):
    with pytest.raises(ValueError, match="must be"):
        check_answer(kind, answer)
