"""TASS: the greedy choice by its rules, its rounds, and the sampler around it on real files."""

import numpy as np
import pytest
from clips import write_clip
from hypothesis import given
from hypothesis import strategies as st
from moving import as_rgb, busy_clip

from framegate.errors import ConfigError, FrameError
from framegate.tokenizers.clip import probe
from framegate.tokenizers.samplers import tass
from framegate.tokenizers.samplers.tass import rounds, sample, temporally_regularised
from framegate.types import VideoInfo

# several frames often share a score
SCORED = st.lists(
    st.tuples(st.integers(0, 12).map(lambda score: score / 8), st.integers(0, 5000)), min_size=1, max_size=80
)


def choose(scores, times, count, *, gap=20.0, stop=0.5):
    return temporally_regularised(
        np.asarray(scores, float),
        np.asarray(times, float),
        num_frames=count,
        min_gap_seconds=gap,
        stop_gap_seconds=stop,
    )


def published(scores, times, count, gap):
    """The greedy as the paper's figure and code have it, without a stop: int list, and rounds run."""
    mean = scores.mean()
    candidates = sorted((i for i in range(len(scores)) if scores[i] > mean), key=lambda i: -scores[i])[
        : 4 * count
    ]
    if len(candidates) <= count:
        return sorted(candidates), 0
    chosen, run = [], 0
    while len(chosen) < count:
        for i in candidates:
            if (
                len(chosen) < count
                and i not in chosen
                and all(abs(times[i] - times[j]) >= gap for j in chosen)
            ):
                chosen.append(i)
        gap /= 2
        run += 1
    return sorted(chosen), run


@pytest.mark.parametrize(("seconds", "num_rounds"), [(3600, 3), (600, 5)])
def test_rounds_on_random_scores(seconds, num_rounds):
    """3 rounds for an hour, 5 for ten minutes: 2 frames per second, 256 frames wanted (papers-core.md 3.2)."""
    times = np.arange(seconds * 2) / 2
    for seed in range(3):
        scores = np.random.default_rng(seed).random(len(times))
        expected, run = published(scores, times, 256, 20.0)
        assert run == num_rounds
        assert choose(scores, times, 256).tolist() == expected


def test_half_a_minute_is_topped_up():
    """The published rule leaves 64 wanted frames at about 30 of 60; all are taken here."""
    times = np.arange(60) / 2
    scores = np.random.default_rng(0).random(60)
    assert 25 <= len(published(scores, times, 64, 20.0)[0]) <= 35
    assert choose(scores, times, 64).tolist() == list(range(60))
    # 50 of 60: those above the mean, then the best of the others
    assert set(published(scores, times, 50, 20.0)[0]) < set(choose(scores, times, 50))
    assert set(choose(scores, times, 50)) == set(np.argsort(-scores)[:50])


def test_a_peak_does_not_take_all_frames():
    times = np.arange(100) / 1.0
    scores = np.where(times < 10, 10 - times / 100, np.where(times % 10 == 0, 5.0, 0.0))
    assert choose(scores, times, 4, gap=20.0, stop=1.0).tolist() == [0, 20, 40, 60]
    assert choose(scores, times, 4, gap=5.0, stop=1.0).tolist() == [0, 5, 10, 20]


def test_a_gap_that_is_just_kept_counts():
    times = np.arange(40) / 10
    assert times[12] - times[9] < 0.3
    scores = np.where(np.arange(40) % 3 == 0, 1.0, 0.9)
    assert choose(scores, times, 5, gap=0.3, stop=0.1).tolist() == [0, 3, 6, 9, 12]


@given(scored=SCORED, count=st.integers(1, 90), gap=st.floats(0.05, 40), stop=st.floats(0.05, 2))
def test_exactly_so_many_sorted_different_and_the_same_again(scored, count, gap, stop):
    scores = np.array([score for score, _ in scored])
    times = np.cumsum([step for _, step in scored]) / 1000
    chosen = choose(scores, times, count, gap=gap, stop=stop)
    assert len(chosen) == min(count, len(scored))
    assert np.all(np.diff(chosen) > 0)
    assert chosen.dtype == np.int64
    np.testing.assert_array_equal(chosen, choose(scores, times, count, gap=gap, stop=stop))
    # whatever is above the mean is used before what is not
    above = np.flatnonzero(scores > scores.mean())
    if len(above) >= count:
        assert set(chosen) <= set(above)
    else:
        assert set(above) <= set(chosen)


@given(scored=SCORED, count=st.integers(1, 40), gap=st.floats(0.05, 40), stop=st.floats(0.05, 2))
def test_every_round_keeps_its_distance_and_leaves_nothing_that_fits(scored, count, gap, stop):
    scores = np.array([score for score, _ in scored])
    times = np.cumsum([step for _, step in scored]) / 1000
    candidates = np.argsort(-scores, kind="stable").tolist()
    expected, before = gap, []
    for least, chosen in rounds(candidates, times, count, min_gap_seconds=gap, stop_gap_seconds=stop):
        assert least == expected
        assert least > stop
        assert chosen[: len(before)] == before
        distances = np.abs(times[chosen][:, None] - times[chosen][None])[~np.eye(len(chosen), dtype=bool)]
        assert np.all(distances >= least * (1 - 1e-6))
        if len(chosen) < count:
            free = [i for i in candidates if np.all(np.abs(times[i] - times[chosen]) >= least)]
            assert free == []
        expected, before = least / 2, chosen
    assert len(before) <= count


def test_equal_scores_go_by_time():
    assert choose([1, 1, 1, 1, 0, 0, 0, 0], np.arange(8), 2, gap=2.0).tolist() == [0, 2]
    assert choose([0, 1, 1, 1, 0, 0, 0, 0], np.arange(8), 4, gap=2.0).tolist() == [0, 1, 2, 3]
    assert choose([5, 5, 5], [0, 0, 0], 2).tolist() == [0, 1]


def test_scores_and_settings_that_cannot_be_used():
    with pytest.raises(FrameError, match=r"scores are \(2,\) and times_seconds \(1,\)"):
        choose([1, 2], [0], 1)
    with pytest.raises(FrameError, match="at least 1"):
        choose([], [], 1)
    with pytest.raises(FrameError, match="finite"):
        choose([1, np.nan], [0, 1], 1)
    with pytest.raises(FrameError, match="not go back"):
        choose([1, 1], [1, 0], 1)
    with pytest.raises(ConfigError, match="num_frames is 0"):
        choose([1], [0], 0)
    with pytest.raises(ConfigError, match="stop_gap_seconds is 0"):
        choose([1], [0], 1, stop=0)
    with pytest.raises(ConfigError, match="min_gap_seconds is nan"):
        choose([1], [0], 1, gap=float("nan"))


class Redness:
    """An encoder that knows red from blue."""

    def __init__(self):
        self.texts = []

    def encode_frames(self, frames):
        return frames.mean(axis=(1, 2))[:, [0, 2]]

    def encode_text(self, text):
        self.texts.append(text)
        return np.array([1.0, 0.0] if "red" in text else [0.0, 1.0])


@pytest.fixture
def coloured(tmp_path):
    """Forty frames in 4 s: blue but for red at 1.0 to 1.4 s and 3.0 to 3.4 s."""
    frames = np.full((40, 48, 64, 3), (20, 20, 220), np.uint8)
    frames[[*range(10, 15), *range(30, 35)]] = (220, 20, 20)
    return write_clip(tmp_path / "coloured.mp4", frames)


def test_an_encoder_finds_what_is_asked_for(coloured):
    plan = plan_frames_of(coloured, fps=10, num_frames=4, query="the red one", scorer=Redness())
    assert set(plan.indices) <= {*range(10, 15), *range(30, 35)}
    assert plan.indices[1] < 20 < plan.indices[2]
    assert plan.notes == ()
    np.testing.assert_allclose(plan.timestamps_seconds, plan.indices / 10)


def plan_frames_of(path, **settings):
    return sample(probe(path), **settings)


def test_the_captioner_words_what_the_encoder_sees(coloured):
    encoder = Redness()
    plan = plan_frames_of(
        coloured,
        fps=10,
        num_frames=4,
        query="What was it?",
        scorer=encoder,
        captioner=lambda query: f"a red field ({query})",
    )
    assert encoder.texts == ["a red field (What was it?)"]
    assert set(plan.indices) <= {*range(10, 15), *range(30, 35)}


def test_without_a_scorer_novelty_is_used_and_said(tmp_path):
    shots = [busy_clip(seed, 20, 48, 64, cut=False) for seed in (0, 5, 10)]
    path = write_clip(tmp_path / "shots.mp4", as_rgb(np.concatenate(shots)))
    plan = plan_frames_of(path, fps=10, num_frames=3, min_gap_seconds=1.0)
    assert plan.indices.tolist() == [0, 20, 40]
    assert plan.notes == (
        "no scorer was given: frames were scored by novelty, not by likeness to a question",
    )
    asked = plan_frames_of(path, fps=10, num_frames=3, min_gap_seconds=1.0, query="who?", captioner=str.upper)
    assert asked.indices.tolist() == [0, 20, 40]
    assert "query and captioner not used" in asked.notes[1]


def test_few_frames_are_all_taken_unscored(coloured):
    encoder = Redness()
    plan = plan_frames_of(coloured, fps=2, query="red", scorer=encoder)
    assert plan.indices.tolist() == list(range(0, 40, 5))
    assert plan.notes == ("all 8 frames at 2 per second were taken, so none was scored",)
    assert encoder.texts == []


def test_the_budget_is_the_smaller_of_both(coloured):
    assert len(plan_frames_of(coloured, fps=10, num_frames=9, max_frames=5)) == 5
    assert len(plan_frames_of(coloured, fps=10, max_frames=7)) == 7
    assert len(plan_frames_of(coloured, fps=10)) == 40
    assert tass.DEFAULT_NUM_FRAMES == 256


def test_a_window_is_kept(coloured):
    plan = plan_frames_of(coloured, fps=10, num_frames=3, start_seconds=2.0, query="red", scorer=Redness())
    assert set(plan.indices) <= set(range(30, 35))
    with pytest.raises(FrameError, match="holds no frame"):
        plan_frames_of(coloured, start_seconds=50.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scorer": Redness()}, "tass.scorer is given, but query is None"),
        ({"scorer": object(), "query": "red"}, "tass.scorer is a object; it must have encode_frames"),
        ({"encoder": Redness()}, "'tass.encoder' is gone; what replaces it: scorer"),
        ({"query": "  "}, "tass.query is '  '; it must be a question"),
        ({"query": 3}, "tass.query is 3"),
        ({"query": "red", "captioner": "no"}, "tass.captioner is 'no'; it must be a function"),
        ({"fps": 0}, "fps is 0"),
        ({"num_frames": 0}, "num_frames is 0"),
        ({"max_frames": 0}, "max_frames is 0"),
        ({"min_gap_seconds": 0}, "min_gap_seconds is 0"),
        ({"min_gap_seconds": float("inf")}, "min_gap_seconds is inf"),
    ],
)
def test_settings_out_of_range(coloured, settings, message):
    with pytest.raises(ConfigError, match=message):
        plan_frames_of(coloured, **settings)


def test_a_captioner_that_says_nothing(coloured):
    with pytest.raises(ConfigError, match="tass.captioner gave '' for query 'red'"):
        plan_frames_of(
            coloured, fps=10, num_frames=3, query="red", scorer=Redness(), captioner=lambda query: ""
        )


def test_frames_in_memory_and_live_sources_are_refused():
    settings = {"width_px": 8, "height_px": 8, "codec": "raw", "duration_seconds": 1.0}
    memory = VideoInfo(source=None, frame_times_seconds=np.arange(9) / 9, **settings)
    with pytest.raises(FrameError, match="in memory"):
        sample(memory, fps=9, num_frames=2)
    live = VideoInfo(source="rtsp://x", frame_times_seconds=np.zeros(0), is_live=True, **settings)
    with pytest.raises(FrameError, match="is live"):
        sample(live)
