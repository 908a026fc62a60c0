"""F2C: its parts by known answers, its budget by properties, and the sampler around it on real files."""

import numpy as np
import pytest
from clips import write_clip
from hypothesis import given
from hypothesis import strategies as st
from moving import as_rgb, busy_clip

from framegate.errors import ConfigError, FrameError
from framegate.tokenizers.clip import probe
from framegate.tokenizers.samplers.frame_to_clip import (
    clip_around,
    grouped_in_time,
    key_clips,
    laid_out,
    sample,
    watershed_anchors,
)
from framegate.types import VideoInfo

TOY = np.array([0.1, 0.3, 0.2, 0.15, 0.4, 0.5, 0.35, 0.2, 0.25, 0.1])
ALIKE, APART = np.ones((10, 4)), np.eye(10)


def test_anchors_of_the_known_curve():
    assert watershed_anchors(TOY).tolist() == [1, 5, 8]


@pytest.mark.parametrize(
    ("scores", "anchors"),
    [
        ([1.0], [0]),
        ([1, 2], [1]),
        ([2, 1], [0]),
        ([1, 2, 3], [2]),
        ([1, 1, 1], [0]),
        ([3, 1, 1, 1, 2], [0, 4]),
        ([0, 2, 2, 0, 1, 1, 0], [1, 4]),
    ],
)
def test_anchors_of_ends_and_plateaus(scores, anchors):
    assert watershed_anchors(np.array(scores, float)).tolist() == anchors


def test_anchors_are_grouped_by_when_they_are_and_kept_by_what_they_score():
    scores = np.zeros(60)
    anchors = np.array([1, 3, 5, 30, 32, 55, 57, 59])
    scores[anchors] = [1, 3, 2, 1, 2, 5, 5, 1]
    assert grouped_in_time(anchors, scores, 3).tolist() == [3, 32, 55]
    assert grouped_in_time(anchors, scores, 8).tolist() == anchors.tolist()
    assert grouped_in_time(anchors, scores, 1).tolist() == [55]


def test_clips_are_centred_one_more_behind_and_stay_inside():
    assert clip_around(5, 1, 10) == (5, 5)
    assert clip_around(5, 2, 10) == (5, 6)
    assert clip_around(5, 3, 10) == (4, 6)
    assert clip_around(5, 4, 10) == (4, 7)
    assert clip_around(0, 4, 10) == (0, 3)
    assert clip_around(9, 4, 10) == (6, 9)
    assert clip_around(1, 12, 10) == (0, 9)


def test_a_clip_is_longest_where_likeness_costs_nothing():
    """K = 1, s_max = 2 and one anchor: four frames of half the size (papers-other.md 7.3)."""
    ranks, scale, group = key_clips(np.full(10, 0.3), ALIKE, budget=1, num_anchors=1, redundancy_weight=0)
    assert (ranks.tolist(), scale.tolist(), group.tolist()) == ([0, 1, 2, 3], [0.5] * 4, [0] * 4)


def test_a_clip_is_one_frame_where_all_are_alike():
    ranks, scale, _ = key_clips(np.full(10, 0.3), ALIKE, budget=1, num_anchors=1)
    assert (ranks.tolist(), scale.tolist()) == ([0], [1.0])


def test_lengths_of_the_known_curve():
    """Worked out by hand: S - 0.5 R + 0.05 l / 4, R = 0, for each anchor of the toy."""
    ranks, scale, group = key_clips(TOY, APART, budget=3, num_anchors=3)
    # 1: .3 + .0125 for one frame, .25 + .025 for two; 5: .5125, .45; 8: .2625, .2, .22, but .225 + .05 for 6 to 9
    assert ranks.tolist() == [1, 5, 6, 7, 8, 9]
    assert (scale.tolist(), group.tolist()) == ([1, 1, 0.5, 0.5, 0.5, 0.5], [0, 1, 2, 2, 2, 2])
    ranks, scale, group = key_clips(TOY, APART, budget=3, num_anchors=3, length_weight=1)
    # 1: .1875 + 1 for 0 to 3; 5: .3625 + 1 for 4 to 7; 8: .225 + 1 for 6 to 9, whose frames 6 and 7 are there
    assert ranks.tolist() == list(range(10))
    np.testing.assert_array_equal(scale, 0.5)
    assert group.tolist() == [0] * 4 + [1] * 6


def test_clips_that_overlap():
    ranks, scale, group = laid_out([(0, 4), (2, 3), (4, 6), (9, 9)], np.array([0.5, 1.0, 0.5, 1.0]), 12)
    assert ranks.tolist() == [0, 1, 2, 3, 4, 5, 6, 9]
    assert scale.tolist() == [0.5, 0.5, 1, 1, 0.5, 0.5, 0.5, 1]
    assert group.tolist() == [0, 0, 1, 1, 2, 2, 2, 3]
    # neighbours that share no frame stay two clips
    assert laid_out([(0, 1), (2, 3)], np.array([0.5, 0.5]), 4)[2].tolist() == [0, 0, 1, 1]


@given(
    seed=st.integers(0, 2**16),
    total=st.integers(1, 90),
    budget=st.integers(1, 24),
    anchors=st.integers(1, 96),
    shrinking=st.floats(1, 4),
    redundancy=st.floats(0, 2),
    length=st.floats(0, 2),
    levels=st.integers(1, 8),
)
def test_the_budget_holds_in_order_and_without_duplicates(
    seed, total, budget, anchors, shrinking, redundancy, length, levels
):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, total) / levels
    settings = {
        "budget": budget,
        "num_anchors": min(anchors, int(shrinking**2 * budget)),
        "max_shrinking": shrinking,
        "redundancy_weight": redundancy,
        "length_weight": length,
    }
    ranks, scale, group = key_clips(scores, rng.normal(size=(total, 5)), **settings)
    assert np.sum(scale**2) <= budget * (1 + 1e-12)
    assert np.all(np.diff(ranks) > 0)
    assert 0 <= ranks[0] <= ranks[-1] < total
    assert np.all((scale <= 1) & (scale >= 1 / shrinking * (1 - 1e-12)))
    assert set(np.diff(group)) <= {0, 1}
    for clip in range(group[-1] + 1):
        mine = group == clip
        assert np.all(np.diff(ranks[mine]) == 1)
        assert len(np.unique(scale[mine])) == 1


def test_what_cannot_be_used():
    for scores, features, message in (
        (np.array([0.1, np.nan]), np.ones((2, 2)), "must be finite"),
        (np.zeros(2), np.full((2, 2), np.inf), "must be finite"),
        (np.zeros(3), np.ones((2, 2)), r"scores are \(3,\) and features \(2, 2\)"),
        (np.zeros(0), np.ones((0, 2)), "N at least 1"),
    ):
        with pytest.raises(FrameError, match=message):
            key_clips(scores, features, budget=1, num_anchors=1)
    with pytest.raises(ConfigError, match="num_anchors is 9; it must be at most 4"):
        key_clips(np.arange(40) % 2 / 1.0, np.ones((40, 2)), budget=1, num_anchors=9)


class Redness:
    def encode_frames(self, frames):
        return frames.mean(axis=(1, 2))[:, [0, 2]]

    def encode_text(self, text):
        return np.array([1.0, 0.0] if "red" in text else [0.0, 1.0])


@pytest.fixture
def coloured(tmp_path):
    """Forty frames in 4 s: blue but for red at 1.0 to 1.4 s and 3.0 to 3.4 s."""
    frames = np.full((40, 48, 64, 3), (20, 20, 220), np.uint8)
    frames[[*range(10, 15), *range(30, 35)]] = (220, 20, 20)
    return probe(write_clip(tmp_path / "coloured.mp4", frames))


def test_clips_lie_where_the_answer_is(coloured):
    plan = sample(
        coloured, fps=10, num_frames=2, query="red", scorer=Redness(), redundancy_weight=0, length_weight=0.5
    )
    assert np.sum(plan.scale**2) == pytest.approx(2)
    assert plan.group.tolist() == [0] * 4 + [1] * 4
    assert set(plan.indices[:4]) <= set(range(9, 16))
    assert set(plan.indices[4:]) <= set(range(29, 36))
    assert plan.notes == ()


def test_novelty_where_there_is_no_scorer(tmp_path):
    shots = [busy_clip(seed, 20, 48, 64, cut=False) for seed in (0, 5, 10)]
    info = probe(write_clip(tmp_path / "shots.mp4", as_rgb(np.concatenate(shots))))
    plan = sample(info, fps=10, num_frames=6, num_anchors=6)
    assert {0, 20, 40} <= set(plan.indices)
    assert plan.notes == (
        "no scorer was given: frames were scored by novelty, not by likeness to a question",
    )


def test_few_frames_are_all_taken_whole(coloured):
    plan = sample(coloured, fps=2, query="red", scorer=Redness())
    assert plan.indices.tolist() == list(range(0, 40, 5))
    assert plan.scale.tolist() == [1.0] * 8
    assert plan.notes == ("all 8 frames at 2 per second were taken, so none was scored",)


def test_a_window_is_kept(coloured):
    plan = sample(coloured, fps=10, num_frames=2, start_seconds=2.0, query="red", scorer=Redness())
    assert plan.indices.min() >= 20


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_frames": 0}, "num_frames is 0"),
        ({"num_anchors": 0}, "num_anchors is 0"),
        ({"num_frames": 2, "num_anchors": 9}, "num_anchors is 9; 2 frames are 8 of the smallest size"),
        ({"max_shrinking": 0.5}, "max_shrinking is 0.5"),
        ({"length_weight": -1}, "length_weight is -1"),
        ({"redundancy_weight": float("nan")}, "redundancy_weight is nan"),
        ({"scorer": Redness()}, "frame_to_clip.scorer is given, but query is None"),
        ({"fps": 0}, "fps is 0"),
    ],
)
def test_settings_out_of_range(coloured, settings, message):
    with pytest.raises(ConfigError, match=message):
        sample(coloured, **settings)


def test_more_anchors_than_frames_are_those_that_there_are(coloured):
    plan = sample(coloured, fps=10, num_frames=30, num_anchors=100, query="red", scorer=Redness())
    assert np.sum(plan.scale**2) <= 30 * (1 + 1e-12)


def test_frames_in_memory_are_refused():
    memory = VideoInfo(
        source=None,
        width_px=8,
        height_px=8,
        codec="raw",
        duration_seconds=9.0,
        frame_times_seconds=np.arange(9.0),
    )
    with pytest.raises(FrameError, match="'frame_to_clip' looks at the pictures of a file"):
        sample(memory, num_frames=2)
