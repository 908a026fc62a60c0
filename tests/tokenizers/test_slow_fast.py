"""LOVE-R1's plan: the whole video small, intervals large, one order of time."""

import numpy as np
import pytest
from clips import gradient_frames, write_clip
from hypothesis import given
from hypothesis import strategies as st
from known_video import known_video, steady_video

from framegate import plan_frames, plan_video
from framegate.errors import ConfigError, FrameError

FAST = [
    0,
    16,
    32,
    47,
    63,
    79,
    95,
    111,
    127,
    142,
    158,
    174,
    190,
    206,
    221,
    237,
    253,
    269,
    285,
    301,
    316,
    332,
    348,
]


def group(plan, number):
    return plan.indices[plan.group == number].tolist()


def test_golden_fast_stream():
    plan = plan_frames(steady_video(349, 30), "slow_fast")
    assert plan.indices.tolist() == FAST
    assert round(len(plan) / np.ptp(plan.indices) * 30, 2) == 1.98
    stamps = plan.timestamps_seconds.astype(int).tolist()
    assert stamps == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 10, 10, 11, 11]
    np.testing.assert_allclose(plan.scale, np.sqrt(32 / 256))
    assert (plan.group == 0).all()


def test_golden_slow_clip_beside_it():
    plan = plan_frames(steady_video(349, 30), "slow_fast", intervals=[(3, 8)])
    assert group(plan, 0) == FAST
    assert group(plan, 1) == [90, 107, 123, 140, 157, 173, 190, 207, 223, 240]
    assert plan.scale[plan.group == 1].tolist() == [1.0] * 10
    assert (np.diff(plan.indices) >= 0).all()
    # frame 190 is in both streams
    assert plan.group[plan.indices == 190].tolist() == [0, 1]
    order = np.argsort(plan.group, kind="stable")
    assert plan.indices[order].tolist() == [*FAST, *group(plan, 1)]


def test_the_papers_budget():
    plan = plan_frames(steady_video(3600 * 30, 30), "slow_fast", intervals=[(100, 160)])
    assert np.bincount(plan.group).tolist() == [768, 32]
    assert plan.full_frames * 256 / 2 == pytest.approx(16384)


def test_intervals_stand_in_order_of_their_start_and_are_cut_to_the_window():
    info = steady_video(600, 10)
    plan = plan_frames(info, "slow_fast", intervals=[(40, 99), (-3, 2.05)], slow_frames=6)
    assert group(plan, 1) == [0, 7, 13, 20]
    assert group(plan, 2) == [400, 440, 480, 519, 559, 599]
    plan = plan_frames(info, "slow_fast", intervals=[(0, 60)], start_seconds=10.0, end_seconds=12.0)
    assert group(plan, 0) == group(plan, 1) == [100, 106, 113, 119]


def test_a_cap_is_paid_by_the_fast_stream():
    info = steady_video(600, 10)
    plan = plan_frames(info, "slow_fast", intervals=[(0, 5)], max_frames=14)
    assert np.bincount(plan.group).tolist() == [4, 10]
    with pytest.raises(FrameError, match=r"max_frames is 10, and 1 intervals take 10 slow frames"):
        plan_frames(info, "slow_fast", intervals=[(0, 5)], max_frames=10)


@given(
    num_frames=st.integers(1, 3000),
    fps=st.sampled_from([1, 3, 25, 30]),
    rate=st.floats(0.1, 10),
    raw=st.lists(st.tuples(st.floats(0, 0.9), st.floats(0.01, 1)), max_size=4),
    slow_frames=st.integers(1, 40),
)
def test_chronological_and_within_its_bounds(num_frames, fps, rate, raw, slow_frames):
    info = steady_video(num_frames, fps)
    seconds = info.duration_seconds
    intervals = [(start * seconds, (start + length) * seconds) for start, length in raw]
    plan = plan_frames(info, "slow_fast", fps=rate, intervals=intervals, slow_frames=slow_frames)
    assert (np.diff(plan.indices) >= 0).all()
    counts = np.bincount(plan.group)
    assert len(counts) == 1 + len(raw)
    assert 1 <= counts[0] <= min(num_frames, 768, max(1, rate * seconds + 1e-3))
    for place, (start, end) in enumerate(sorted(intervals), start=1):
        frames = plan.indices[plan.group == place]
        assert 1 <= len(frames) <= slow_frames
        assert (np.diff(frames) > 0).all()
        times = plan.timestamps_seconds[plan.group == place]
        assert times[0] >= start - 1 / fps - 1e-6
        assert times[-1] <= end + 1e-6


def test_a_varying_rate_is_spread_over_time():
    times = np.concatenate([np.arange(10.0), 10 + np.arange(1000) / 100])
    plan = plan_frames(known_video(times, tail_seconds=0.01), "slow_fast", fps=0.5)
    np.testing.assert_allclose(np.diff(plan.timestamps_seconds), 20 / 9, atol=1.01)


def test_what_cannot_be_planned():
    info = steady_video(349, 30)
    for settings, error, message in [
        (
            {"intervals": [(8, 3)]},
            ConfigError,
            r"intervals\[0\] is 8 to 3 seconds; give a start and a later end",
        ),
        ({"intervals": [(0, 1), (2, float("nan"))]}, ConfigError, r"intervals\[1\] is 2 to nan"),
        ({"intervals": [(20, 30)]}, FrameError, r"is 20 to 30 seconds; the clip window holds 0 to 11.6333"),
        ({"intervals": [3, 8]}, ConfigError, r"intervals\[0\] is 3; it must be a list of 2"),
        ({"intervals": [(1, 2, 3)]}, ConfigError, r"a list of 2"),
        ({"fast_scale": 1.5}, ConfigError, r"fast_scale is 1.5; it must be in \(0, 1\]"),
        ({"slow_frames": 0}, ConfigError, r"slow_frames is 0"),
    ]:
        with pytest.raises(error, match=message):
            plan_frames(info, "slow_fast", **settings)
    with pytest.raises(FrameError, match=r"clip.mp4 has no frame"):
        plan_frames(known_video([]), "slow_fast")


def test_zero_duration_is_one_frame():
    assert plan_frames(known_video([0.0], tail_seconds=0), "slow_fast").indices.tolist() == [0]
    assert plan_frames(known_video([0.0, 0.0], tail_seconds=0), "slow_fast").indices.tolist() == [0]


def test_a_plan_of_overlapping_groups_is_read_in_one_pass(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", gradient_frames(30))
    frames = plan_frames(path, "slow_fast", intervals=[(0.5, 2)])
    plan = plan_video(path, "dense", frames=frames)
    assert len(plan.timestamps_seconds) == len(list(plan.source_frames())) == len(frames) == 9
    assert any("scale: not followed here" in note for note in plan.notes)
    assert plan_video(path, "dense", plan=plan).notes == plan.notes
