"""Temporal apexes: curves with known turns, and cuts of real files."""

import numpy as np
import pytest
from clips import write_clip
from hypothesis import given
from hypothesis import strategies as st
from moving import as_rgb, busy_clip

from framegate.errors import ConfigError, FrameError
from framegate.tokenizers.clip import probe
from framegate.tokenizers.relevance import BetweenFrames
from framegate.tokenizers.samplers.apex import (
    prominence,
    sample,
    smoothed,
    spread_out,
    turning_frames,
    turns,
)


def hills(*places, total=40, width=2.0):
    ranks = np.arange(total)
    return sum(height * np.exp(-0.5 * ((ranks - at) / width) ** 2) for at, height in places)


def test_turns_of_a_hill_are_its_top_and_its_flanks():
    apexes, inflections = turns(hills((20, 1.0), width=4.0))
    assert apexes.tolist() == [20]
    assert {int(rank) for rank in inflections} <= {15, 16, 17, 23, 24, 25}
    assert len(inflections) >= 2


def test_prominence_is_the_height_above_the_way_to_something_higher():
    curve = np.array([0, 3, 1, 2, 1.5, 5, 0.5, 1, 0])
    apexes = turns(curve)[0]
    assert apexes.tolist() == [1, 3, 5, 7]
    assert prominence(curve, apexes)[apexes].tolist() == [2, 0.5, 5, 0.5]


def test_the_most_prominent_turns_are_taken_and_kept_apart():
    curve = hills((5, 1.0), (20, 0.6), (33, 0.8))
    assert turning_frames(curve, num_frames=3).tolist() == [5, 20, 33]
    assert turning_frames(curve, num_frames=2).tolist() == [5, 33]
    # a quarter of the even spacing of 2 among 40 frames: five
    for second, expected in ((15, [10, 15]), (14, [10, 30])):
        twins = hills((10, 1.0), (second, 0.9), (30, 0.5), width=1.0)
        assert turning_frames(twins, num_frames=2).tolist() == expected


def test_a_bonus_lifts_a_turn():
    curve = hills((5, 1.0), (20, 0.6), (33, 0.8))
    bonus = np.zeros(40)
    bonus[20] = 1.0
    assert turning_frames(curve, bonus=bonus, num_frames=2).tolist() == [5, 20]


def test_after_a_turn_comes_the_calm():
    curve = hills((5, 1.0), (25, 0.8))
    apexes = turning_frames(curve, num_frames=2)
    after = turning_frames(curve, num_frames=2, pick="after")
    assert apexes.tolist() == [5, 25]
    assert np.all(after > apexes)
    assert np.all(curve[after] < 0.01)


def test_where_nothing_turns_frames_are_spread():
    assert turning_frames(np.zeros(9), num_frames=3).tolist() == [0, 4, 8]
    assert spread_out(np.array([2]), 10, 3).tolist() == [2, 5, 9]
    assert turning_frames(np.zeros(2), num_frames=5).tolist() == [0, 1]


@given(
    curve=st.lists(st.floats(0, 2), min_size=1, max_size=60),
    count=st.integers(1, 70),
    pick=st.sampled_from(["apex", "after"]),
)
def test_exactly_so_many_in_order_and_without_duplicates(curve, count, pick):
    chosen = turning_frames(smoothed(np.array(curve)), num_frames=count, pick=pick)
    assert len(chosen) == min(count, len(curve))
    assert np.all(np.diff(chosen) > 0)
    assert 0 <= chosen[0] <= chosen[-1] < len(curve)


def test_what_cannot_be_used():
    for curve, bonus in (([], 0.0), ([0.1, np.nan], 0.0), ([0.1, 0.2], np.array([0.0, np.inf]))):
        with pytest.raises(FrameError, match="must be finite, and of one frame at least"):
            turning_frames(np.array(curve), bonus=bonus, num_frames=1)
    with pytest.raises(ConfigError, match="num_frames is 0"):
        turning_frames(np.ones(3), num_frames=0)


@pytest.fixture(scope="module")
def shots(tmp_path_factory):
    """Three shots of 2 s: cuts at frames 20 and 40."""
    clips = [busy_clip(seed, 20, 48, 64, cut=False) for seed in (0, 5, 10)]
    return probe(write_clip(tmp_path_factory.mktemp("apex") / "shots.mp4", as_rgb(np.concatenate(clips))))


def test_cuts_are_apexes_and_every_shot_is_seen(shots):
    two = sample(shots, fps=10, num_frames=2)
    assert np.abs(two.indices - [20, 40]).max() <= 1
    six = sample(shots, fps=10, num_frames=6)
    assert {int(index) // 20 for index in six.indices} == {0, 1, 2}
    assert six.notes == ()


class LumaAndRedness:
    def encode_frames(self, frames):
        return frames.mean(axis=(1, 2))[:, [0, 2]]

    def encode_text(self, text):
        return np.array([1.0, 0.0])


def test_other_features_and_a_question(tmp_path):
    frames = np.full((60, 48, 64, 3), (20, 20, 220), np.uint8)
    frames[20:40] = (220, 20, 20)
    frames[40:] = (20, 120, 20)
    info = probe(write_clip(tmp_path / "three.mp4", frames))
    between = sample(info, fps=10, num_frames=1, scorer=BetweenFrames(LumaAndRedness()))
    asked = sample(info, fps=10, num_frames=1, scorer=LumaAndRedness(), query="red", query_weight=9)
    assert min(abs(int(between.indices[0]) - cut) for cut in (20, 40)) <= 1
    assert 20 <= asked.indices[0] < 40


def test_notes(shots, tmp_path):
    assert "query not used" in sample(shots, fps=10, num_frames=3, query="who?").notes[0]
    few = sample(shots, fps=1)
    assert few.notes == ("all 6 frames at 1 per second were taken, so none was looked at",)
    still = probe(write_clip(tmp_path / "still.mp4", np.full((20, 48, 64, 3), 90, np.uint8)))
    plan = sample(still, fps=10, num_frames=3)
    assert plan.indices.tolist() == [0, 10, 19]
    assert plan.notes == ("nothing moves: frames were spread evenly",)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_frames": 0}, "num_frames is 0"),
        ({"pick": "before"}, "pick is 'before'"),
        ({"query_weight": -1}, "query_weight is -1"),
        ({"scorer": LumaAndRedness()}, "apex.scorer is given, but query is None"),
    ],
)
def test_settings_out_of_range(shots, settings, message):
    with pytest.raises(ConfigError, match=message):
        sample(shots, **settings)
