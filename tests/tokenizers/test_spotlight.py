"""FrameThinker's views: the whole video, then every stretch that a turn asks for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_video import NTSC, known_video, steady_video

from framegate import plan_frames
from framegate.errors import ConfigError, FrameError
from framegate.tokenizers.clip.window import window_frames

VA = steady_video(349, 30)


def group(plan, number):
    return plan.indices[plan.group == number].tolist()


def test_golden_first_view():
    assert plan_frames(VA, "spotlight").indices.tolist() == [0, 49, 99, 149, 198, 248, 298, 348]
    twelve = [0, 83, 166, 250, 333, 417, 500, 584, 667, 751, 834, 918]
    assert plan_frames(steady_video(919, NTSC), "spotlight", num_frames=12).indices.tolist() == twelve


def test_golden_choose_frames_between():
    plan = plan_frames(VA, "spotlight", between=[(100, 200)])
    assert group(plan, 0) == [0, 49, 99, 149, 198, 248, 298, 348]
    assert group(plan, 1) == [101, 115, 129, 143, 157, 171, 185, 199]
    assert len(plan) == 16
    assert (np.diff(plan.indices) >= 0).all()


def test_golden_frame_number_at_a_time():
    assert window_frames(VA, (7.0, None))[0] == 210


def test_views_keep_the_order_of_the_turns():
    plan = plan_frames(VA, "spotlight", between=[(200, 300), (0, 9)])
    assert group(plan, 1)[0] == 201
    assert group(plan, 2) == list(range(1, 9))


def test_twelve_frames_above_five_minutes():
    assert len(plan_frames(steady_video(3000, 10), "spotlight")) == 8
    assert len(plan_frames(steady_video(3001, 10), "spotlight")) == 12
    assert len(plan_frames(steady_video(3001, 10), "spotlight", end_seconds=60.0)) == 8


def test_a_cap_is_shared_by_the_views():
    plan = plan_frames(VA, "spotlight", between=[(100, 200)], max_frames=10)
    assert np.bincount(plan.group).tolist() == [5, 5]
    assert plan.notes == ("max_frames 10: 5 frames in each of 2 views, not 8",)
    with pytest.raises(FrameError, match=r"max_frames is 1, and there are 2 views"):
        plan_frames(VA, "spotlight", between=[(100, 200)], max_frames=1)


def test_a_short_or_timeless_video_is_shown_whole():
    assert plan_frames(steady_video(5, 30), "spotlight").indices.tolist() == [0, 1, 2, 3, 4]
    assert plan_frames(known_video([0.0], tail_seconds=0), "spotlight").indices.tolist() == [0]
    assert plan_frames(known_video([0.0] * 3, tail_seconds=0), "spotlight").indices.tolist() == [0, 1, 2]


def test_window():
    plan = plan_frames(VA, "spotlight", between=[(60, 80)], start_seconds=2.01, end_seconds=4.0)
    assert (plan.indices[0], plan.indices[-1]) == (60, 119)
    assert plan.timestamps_seconds[0] == 2.01
    assert group(plan, 1) == [61, 63, 66, 68, 71, 73, 76, 79]
    with pytest.raises(FrameError, match=r"between\[0\] is 59 to 80; .* both in 60 to 119"):
        plan_frames(VA, "spotlight", between=[(59, 80)], start_seconds=2.01, end_seconds=4.0)


@given(
    gaps=st.lists(st.integers(1, 900), min_size=1, max_size=200),
    wanted=st.integers(1, 12),
    data=st.data(),
)
def test_each_view_holds_different_frames_of_its_stretch(gaps, wanted, data):
    info = known_video(np.cumsum(gaps) / 1000)
    stretches = []
    if len(gaps) > wanted + 1:
        start = data.draw(st.integers(0, len(gaps) - wanted - 2))
        stretches = [(start, data.draw(st.integers(start + wanted + 1, len(gaps) - 1)))]
    plan = plan_frames(info, "spotlight", num_frames=wanted, between=stretches)
    assert len(group(plan, 0)) == min(wanted, len(gaps))
    for place, (start, end) in enumerate([(-1, len(gaps)), *stretches]):
        frames = group(plan, place)
        assert (np.diff(frames) > 0).all()
        assert start < frames[0]
        assert frames[-1] < end
    for place in range(1, 1 + len(stretches)):
        assert len(group(plan, place)) == wanted


@pytest.mark.parametrize("stretch", [(200, 100), (100, 349), (-1, 100), (100, 108)])
def test_stretches_that_the_paper_refuses(stretch):
    start, end = stretch
    message = rf"between\[0\] is {start} to {end}; .* more than 8 frames later, both in 0 to 348"
    with pytest.raises(FrameError, match=message):
        plan_frames(VA, "spotlight", between=[stretch])
    assert len(plan_frames(VA, "spotlight", between=[(100, 109)])) == 16


def test_what_cannot_be_planned():
    with pytest.raises(ConfigError, match=r"num_frames is 0"):
        plan_frames(VA, "spotlight", num_frames=0)
    with pytest.raises(ConfigError, match=r"between\[0\]\[1\] is 20.5; it must be a whole number"):
        plan_frames(VA, "spotlight", between=[(1, 20.5)])
    with pytest.raises(FrameError, match=r"clip.mp4 has no frame"):
        plan_frames(known_video([]), "spotlight")
