"""DLE's frame skipping: one frame of every whole clip, by count."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_video import NTSC, known_video, steady_video

from framegate import plan_frames
from framegate.errors import ConfigError, FrameError


@pytest.mark.parametrize(
    ("num_frames", "fps", "count"), [(349, 30, 11), (919, NTSC, 30), (287, 3, 9), (325, 25, 10)]
)
def test_the_frames_that_the_papers_code_saves(num_frames, fps, count):
    plan = plan_frames(steady_video(num_frames, fps), "clip_stride")
    assert plan.indices.tolist() == list(range(29, num_frames, 30))
    assert len(plan) == count
    assert (plan.scale == 1).all()
    assert (plan.group == 0).all()


def test_first_and_centre():
    info = steady_video(100, 10)
    assert plan_frames(info, "clip_stride", pick="first").indices.tolist() == [0, 30, 60]
    assert plan_frames(info, "clip_stride", pick="centre").indices.tolist() == [15, 45, 75]
    assert plan_frames(info, "clip_stride", pick="centre", clip_frames=33).indices.tolist() == [16, 49, 82]


def test_clips_begin_with_the_window():
    plan = plan_frames(
        steady_video(100, 10), "clip_stride", clip_frames=10, start_seconds=2.05, end_seconds=5.1
    )
    assert plan.indices.tolist() == [29, 39, 49]
    assert plan_frames(
        steady_video(100, 10), "clip_stride", pick="first", start_seconds=2.05
    ).timestamps_seconds.tolist() == [2.05, 5.0]


def test_a_window_shorter_than_a_clip_is_one_clip():
    plan = plan_frames(steady_video(7, 30), "clip_stride")
    assert plan.indices.tolist() == [6]
    assert plan.notes == ("the window's 7 frames are less than a clip of 30: they are one clip",)
    assert plan_frames(known_video([0.0], tail_seconds=0), "clip_stride").indices.tolist() == [0]


def test_above_the_cap_clips_are_spread_evenly():
    plan = plan_frames(steady_video(300, 30), "clip_stride", max_frames=5)
    assert plan.indices.tolist() == [59, 119, 179, 239, 299]
    assert plan.notes == ("max_frames 5: evenly spread of 10 clips of 30 frames",)
    assert plan_frames(steady_video(300, 30), "clip_stride", max_frames=10).notes == ()


@given(
    num_frames=st.integers(1, 2000),
    clip_frames=st.integers(1, 90),
    pick=st.sampled_from(["first", "centre", "last"]),
    cap=st.none() | st.integers(1, 50),
)
def test_one_frame_of_each_clip(num_frames, clip_frames, pick, cap):
    info = steady_video(num_frames, 25)
    plan = plan_frames(info, "clip_stride", clip_frames=clip_frames, pick=pick, max_frames=cap)
    clips = max(1, num_frames // clip_frames)
    assert len(plan) == min(clips, cap or clips)
    assert (np.diff(plan.indices // clip_frames) > 0).all()
    assert len(set((plan.indices % min(clip_frames, num_frames)).tolist())) == 1


def test_what_cannot_be_sampled():
    with pytest.raises(ConfigError, match=r"clip_stride.pick is 'center'. Did you mean 'centre'"):
        plan_frames(steady_video(9, 3), "clip_stride", pick="center")
    with pytest.raises(ConfigError, match=r"clip_stride.clip_frames is 0; it must be at least 1"):
        plan_frames(steady_video(9, 3), "clip_stride", clip_frames=0)
    with pytest.raises(FrameError, match=r"clip.mp4 has no frame to choose from"):
        plan_frames(known_video([]), "clip_stride")
