"""Uniform sampling: even over time, different frames, inside the window."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framegate import plan_frames
from framegate.errors import ConfigError, FrameError
from framegate.tokenizers.clip.window import window_frames
from framegate.tokenizers.samplers import sampler
from framegate.tokenizers.samplers.uniform import sample
from framegate.types import VideoInfo


def video(times_seconds, *, tail_seconds=0.1, is_live=False):
    times = np.asarray(times_seconds, dtype=np.float64)
    return VideoInfo(
        source="clip.mp4",
        width_px=64,
        height_px=48,
        frame_times_seconds=times,
        duration_seconds=float(times[-1]) + tail_seconds if len(times) else 0.0,
        codec="h264",
        is_live=is_live,
    )


TIMES = st.lists(st.integers(1, 3000), min_size=1, max_size=60).map(
    lambda gaps: np.cumsum(gaps) / 1000 - 0.001
)


def test_takes_the_middle_of_each_segment():
    plan = sample(video(np.arange(100) / 10), num_frames=4)
    assert plan.indices.tolist() == [12, 37, 62, 87]
    np.testing.assert_allclose(plan.timestamps_seconds, [1.2, 3.7, 6.2, 8.7])
    assert plan.scale.tolist() == [1.0] * 4
    assert plan.group.tolist() == [0] * 4


def test_is_even_over_time_not_over_indices():
    # nine seconds at 1 frame per second, then one second at 100
    times = np.concatenate([np.arange(9.0), 9 + np.arange(100) / 100])
    plan = sample(video(times, tail_seconds=0.01), num_frames=5)
    np.testing.assert_allclose(plan.timestamps_seconds, [1, 3, 5, 7, 9], atol=0.01)


def test_window_and_cap():
    info = video(np.arange(100) / 10)
    plan = sample(info, num_frames=50, max_frames=5, start_seconds=2.0, end_seconds=3.0)
    assert plan.indices.tolist() == [21, 23, 25, 27, 29]
    assert sample(info, num_frames=50, start_seconds=9.75).indices.tolist() == [97, 98, 99]


@given(times=TIMES, num_frames=st.integers(1, 80), cap=st.none() | st.integers(1, 80), data=st.data())
def test_gives_as_many_different_frames_of_the_window_as_it_can(times, num_frames, cap, data):
    info = video(times)
    low, high = sorted(data.draw(st.tuples(st.floats(-1, 200), st.floats(-1, 200))))
    try:
        inside = window_frames(info, (low, high))
    except FrameError:
        with pytest.raises(FrameError, match="clip.mp4|empty"):
            sample(info, num_frames=num_frames, max_frames=cap, start_seconds=low, end_seconds=high)
        return
    plan = sample(info, num_frames=num_frames, max_frames=cap, start_seconds=low, end_seconds=high)
    assert len(plan) == min(num_frames, cap or num_frames, len(inside))
    assert np.all(np.diff(plan.indices) > 0)
    assert set(plan.indices) <= set(inside)
    # the frame that is on screen at the start has the start's time
    np.testing.assert_array_equal(plan.timestamps_seconds, np.maximum(times[plan.indices], low))


def test_live_sources_have_no_plan():
    with pytest.raises(FrameError, match=r"clip.mp4 is live.*live_fps"):
        sample(video([], is_live=True), num_frames=3)


def test_registry_checks_names_and_values():
    info = video(np.arange(10) / 10)
    assert sampler("uniform") is sample
    assert len(sampler("uniform")(info, num_frames=3, max_frames=None)) == 3
    assert len(plan_frames(info, "uniform", num_frames=3)) == 3
    for name, settings, message in [
        ("unifrom", {}, "Unknown frame sampler 'unifrom'. Did you mean 'uniform'"),
        ("uniform", {"num_frame": 3}, "Unknown setting 'uniform.num_frame'. Did you mean 'num_frames'"),
        ("uniform", {}, "'uniform' needs num_frames"),
        ("uniform", {"num_frames": 2.5}, "uniform.num_frames is 2.5; it must be a whole number"),
        ("uniform", {"num_frames": True}, "uniform.num_frames is True"),
        ("uniform", {"num_frames": 0}, "num_frames is 0; it must be at least 1"),
        ("uniform", {"num_frames": 3, "max_frames": 0}, "max_frames is 0"),
        (
            "uniform",
            {"num_frames": 3, "start_seconds": "1"},
            "uniform.start_seconds is '1'; it must be a number or None",
        ),
        ("fps", {"fps": 0}, "fps.fps is 0; it must be above 0"),
    ]:
        with pytest.raises(ConfigError, match=message):
            plan_frames(info, name, **settings)
