"""SeViLA's localizer: the best in order, spans, and what it needs."""

import numpy as np
import pytest
from clips import write_clip

from framegate.errors import ConfigError, FrameError
from framegate.tokenizers.clip import probe
from framegate.tokenizers.relevance import BetweenFrames
from framegate.tokenizers.samplers.yes_logit import sample, spans, top_in_order
from framegate.tokenizers.scoring import ScoredOnce


class Yes:
    """Says how red a frame is, or what `give` makes of it."""

    def __init__(self, give=lambda scores: scores):
        self.give = give

    def score_frames(self, frames, text):
        return self.give(frames.mean(axis=(1, 2))[:, 0] - frames.mean(axis=(1, 2))[:, 2])


class Encoder:
    def encode_frames(self, frames):
        return frames.mean(axis=(1, 2))


@pytest.fixture(scope="module")
def coloured(tmp_path_factory):
    """Forty frames in 4 s: blue but for red at 1.0 to 1.4 s and 3.0 to 3.4 s."""
    frames = np.full((40, 48, 64, 3), (20, 20, 220), np.uint8)
    frames[[*range(10, 15), *range(30, 35)]] = (220, 20, 20)
    return probe(write_clip(tmp_path_factory.mktemp("yes") / "coloured.mp4", frames))


def test_the_best_come_in_order_of_time():
    assert top_in_order(np.array([0.1, 5.0, 0.2, 7.0, 6.0]), 3).tolist() == [1, 3, 4]
    assert top_in_order(np.array([1.0, 1.0, 1.0]), 2).tolist() == [0, 1]
    assert top_in_order(np.array([1.0]), 2).tolist() == [0]


@pytest.mark.parametrize("scorer", [Yes(), ScoredOnce(Yes())], ids=["plain", "once"])
def test_frames_of_which_the_model_says_yes(coloured, scorer):
    plan = sample(coloured, query="the red one", scorer=scorer)
    assert len(plan) == 4
    assert set(plan.indices) <= {*range(10, 15), *range(30, 35)}
    assert np.all(np.diff(plan.indices) > 0)
    late = sample(coloured, query="the red one", scorer=scorer, start_seconds=2.0, num_frames=2)
    assert set(late.indices) <= set(range(30, 35))


def test_few_frames_are_all_taken(coloured):
    plan = sample(coloured, num_candidates=4, query="red", scorer=Yes())
    assert len(plan) == 4
    assert plan.notes == ("all 4 frames were taken, so none was scored",)
    assert len(sample(coloured, num_candidates=8, max_frames=2, query="red", scorer=Yes())) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "yes_logit needs a query and a scorer"),
        ({"query": "red"}, "yes_logit needs a query and a scorer"),
        ({"scorer": Yes()}, "yes_logit.scorer is given, but query is None"),
        ({"scorer": BetweenFrames(Encoder())}, "yes_logit needs a query and a scorer that reads it"),
        ({"scorer": Encoder(), "query": "red"}, "has no encode_text"),
        ({"num_frames": 33}, "num_frames is 33; it must be at most num_candidates, 32"),
        ({"num_frames": 0}, "num_frames is 0"),
        (
            {"scorer": Yes(lambda scores: scores[:3]), "query": "red"},
            r"Yes.score_frames gave \[3\] for 32 frames",
        ),
        ({"scorer": Yes(lambda scores: scores / 0), "query": "red"}, "with NaN or infinity"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_settings_and_scorers_that_do_not_fit(coloured, settings, message):
    with pytest.raises(ConfigError, match=message):
        sample(coloured, **settings)


def test_spans_join_what_lies_near():
    times = np.array([0, 2, 4, 6, 8, 10, 12.0])
    scores = np.array([1, 1, -1, 1, -1, -1, 2.0])
    assert spans(scores, times).tolist() == [[0, 2], [6, 6], [12, 12]]
    assert spans(scores, times, max_gap_seconds=4).tolist() == [[0, 6], [12, 12]]
    assert spans(scores, times, above=1).tolist() == [[12, 12]]
    assert spans(scores, times, above=5).shape == (0, 2)


def test_spans_of_what_cannot_be_used():
    with pytest.raises(FrameError, match=r"scores are \(2,\)"):
        spans(np.zeros(2), np.zeros(3))
    with pytest.raises(FrameError, match="finite"):
        spans(np.array([np.nan]), np.zeros(1))
    with pytest.raises(FrameError, match="go back"):
        spans(np.zeros(2), np.array([1.0, 0.0]))
    with pytest.raises(ConfigError, match="max_gap_seconds is 0"):
        spans(np.zeros(1), np.zeros(1), max_gap_seconds=0)
