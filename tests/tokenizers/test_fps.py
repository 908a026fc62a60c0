"""Constant-rate sampling: the frame on screen at each grid point, by container time."""

import numpy as np
import pytest
from clips import gradient_frames, write_clip
from hypothesis import given
from hypothesis import strategies as st

from framegate import plan_frames
from framegate.errors import ConfigError, FrameError
from framegate.tokenizers.samplers import uniform
from framegate.tokenizers.samplers.fps import sample
from framegate.types import VideoInfo


def video(times_seconds, *, tail_seconds=0.1):
    times = np.asarray(times_seconds, dtype=np.float64)
    return VideoInfo(
        source="clip.mp4",
        width_px=64,
        height_px=48,
        frame_times_seconds=times,
        duration_seconds=float(times[-1]) + tail_seconds,
        codec="h264",
    )


TIMES = st.lists(st.integers(10, 3000), min_size=1, max_size=60).map(
    lambda gaps: np.cumsum([0, *gaps[:-1]]) / 1000
)


def test_takes_every_fifth_of_ten_per_second():
    plan = sample(video(np.arange(30) / 10), fps=2)
    assert plan.indices.tolist() == [0, 5, 10, 15, 20, 25]


@pytest.mark.parametrize("rate", [24, 25, 30, 30000 / 1001, 60])
def test_the_videos_own_rate_takes_every_frame(rate):
    info = video(np.arange(500) / rate, tail_seconds=1 / rate)
    assert len(sample(info, fps=rate)) == 500
    assert len(sample(info, fps=rate * 3)) == 500
    assert len(sample(info, fps=1e300)) == 500
    assert sample(info, fps=rate / 2).indices.tolist() == list(range(0, 500, 2))


def test_window_starts_the_grid():
    info = video(np.arange(30) / 10)
    assert sample(info, fps=2, start_seconds=0.3, end_seconds=1.5).indices.tolist() == [3, 8, 13]
    assert sample(info, fps=2, start_seconds=0.25, end_seconds=1.31).indices.tolist() == [2, 7, 12]


def test_variable_rate_takes_what_is_on_screen():
    info = video([0.0, 0.1, 0.2, 3.0, 3.9, 4.0], tail_seconds=0.5)
    assert sample(info, fps=1).indices.tolist() == [0, 2, 3, 5]


def test_too_many_frames_are_spread_evenly():
    info = video(np.arange(100) / 10)
    plan = sample(info, fps=5, max_frames=8, start_seconds=1.0, end_seconds=9.0)
    expected = uniform.sample(info, num_frames=8, start_seconds=1.0, end_seconds=9.0)
    assert plan.indices.tolist() == expected.indices.tolist()
    assert len(sample(info, fps=5, max_frames=50)) == 50


@given(times=TIMES, fps=st.floats(0.05, 200))
def test_equals_the_plain_definition(times, fps):
    info = video(times)
    grid = np.arange(int(info.duration_seconds * fps) + 2) / fps
    grid = grid[grid < info.duration_seconds - 1e-6]
    shown = np.unique(np.searchsorted(times, grid + 1e-6, side="right") - 1)
    assert sample(info, fps=fps).indices.tolist() == shown.tolist()


@given(times=TIMES, fps=st.floats(0.05, 200), cap=st.integers(1, 70))
def test_frames_are_different_and_capped(times, fps, cap):
    plan = sample(video(times), fps=fps, max_frames=cap)
    assert 1 <= len(plan) <= cap
    assert np.all(np.diff(plan.indices) > 0)
    np.testing.assert_array_equal(plan.timestamps_seconds, times[plan.indices])


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_rates_out_of_range(fps):
    with pytest.raises(ConfigError, match=f"fps is {fps}; it must be above 0"):
        sample(video([0.0]), fps=fps)


def test_caps_and_windows_out_of_range():
    with pytest.raises(ConfigError, match="max_frames is 0"):
        sample(video([0.0]), fps=1, max_frames=0)
    with pytest.raises(FrameError, match="holds no frame"):
        sample(video([0.0]), fps=1, start_seconds=5)


def test_from_a_path(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", gradient_frames(30))
    plan = plan_frames(path, "fps", fps=2, end_seconds=2.0)
    np.testing.assert_allclose(plan.timestamps_seconds, [0, 0.5, 1, 1.5])


def test_a_cap_is_said_in_the_plan():
    plan = sample(video(np.arange(100) / 10), fps=10, max_frames=20)
    assert len(plan) == 20
    assert plan.notes == ("fps 10 would take 100 frames; max_frames 20 were spread evenly instead",)
    assert sample(video(np.arange(100) / 10), fps=10, max_frames=100).notes == ()
