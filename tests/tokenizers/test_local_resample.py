"""EARL's localized re-sampling: frames around the selected ones, shared by length."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_video import NTSC, known_video, steady_video

from framegate import plan_frames
from framegate.errors import ConfigError, FrameError
from framegate.tokenizers.samplers.local_resample import around, shared

VC = steady_video(919, NTSC)


def test_thirty_two_frames_to_start_with():
    plan = plan_frames(VC, "local_resample")
    assert plan.indices.tolist() == np.linspace(0, 918, 32).astype(int).tolist()
    np.testing.assert_allclose(np.diff(plan.timestamps_seconds), 0.988, atol=1 / 29)
    assert plan_frames(VC, "local_resample", max_frames=5).indices.tolist() == [0, 229, 459, 688, 918]


def test_golden_ten_and_six_frames():
    first = plan_frames(VC, "local_resample")
    plan = plan_frames(VC, "local_resample", selected=(10, 11, 25))
    assert len(plan) == len(set(plan.indices.tolist())) == 16
    assert np.bincount(plan.group).tolist() == [10, 6]
    assert set(first.indices[[10, 11, 25]]) <= set(plan.indices)
    near, far = (plan.indices[plan.group == group] for group in (0, 1))
    assert (near[0], near[-1]) == (first.indices[9], first.indices[12])
    assert (far[0], far[-1]) == (first.indices[24], first.indices[26])
    assert 0.3 < np.diff(plan.timestamps_seconds[plan.group == 0]).mean() < 0.4
    # the same from a plan that is handed in
    again = plan_frames(VC, "local_resample", current=first, selected=[25, 11, 10, 11])
    assert again.indices.tolist() == plan.indices.tolist()


def test_rounds_close_in_until_nothing_is_left():
    plan, spans = plan_frames(VC, "local_resample"), []
    while not plan.notes:
        spans.append(np.ptp(plan.timestamps_seconds))
        plan = plan_frames(VC, "local_resample", current=plan, selected=(5,))
    assert spans == sorted(spans, reverse=True)
    assert plan.notes == ("1 of 1 stretches have fewer frames than their share",)
    assert (np.diff(plan.indices) == 1).all()


def test_the_videos_ends_stand_in_for_neighbours():
    ranks = np.array([10, 20, 30])
    assert around(ranks, np.array([10]), 99).tolist() == [[0, 20]]
    assert around(ranks, np.array([30]), 99).tolist() == [[20, 99]]
    # two that meet in a frame are one
    assert around(ranks, np.array([10, 30]), 99).tolist() == [[0, 99]]
    assert around(np.arange(0, 100, 10), np.array([20, 60]), 99).tolist() == [[10, 30], [50, 70]]


def test_shares_have_a_least_and_sum_up():
    assert shared(np.array([3.0, 2.0]), np.array([2, 1]), 16).tolist() == [10, 6]
    assert shared(np.array([100.0, 1.0, 1.0]), np.array([1, 1, 1]), 8).tolist() == [6, 1, 1]
    assert shared(np.array([16.0, 2.0]), np.array([15, 1]), 16).tolist() == [15, 1]
    assert shared(np.zeros(2), np.array([1, 1]), 4).tolist() == [2, 2]


def test_a_window_holds_in_every_round():
    window = {"start_seconds": 10.01, "end_seconds": 20.0}
    first = plan_frames(VC, "local_resample", **window)
    assert first.timestamps_seconds[0] == 10.01
    plan = plan_frames(VC, "local_resample", current=first, selected=(0,), **window)
    assert plan.timestamps_seconds[0] == 10.01
    assert plan.indices[-1] == first.indices[1]
    whole = plan_frames(VC, "local_resample")
    with pytest.raises(FrameError, match=r"current plan names frames 0 to 918, .* holds 300 to 599"):
        plan_frames(VC, "local_resample", current=whole, selected=(0,), start_seconds=10.01, end_seconds=20.0)


@given(
    num_frames=st.integers(1, 400),
    wanted=st.integers(1, 20),
    start=st.integers(1, 40),
    data=st.data(),
)
def test_different_frames_of_the_stretches_the_selected_ones_among_them(num_frames, wanted, start, data):
    info = steady_video(num_frames, 10)
    first = plan_frames(info, "local_resample", initial_frames=start)
    places = st.lists(st.integers(0, len(first) - 1), min_size=1, max_size=wanted)
    selected = data.draw(places)
    plan = plan_frames(info, "local_resample", current=first, selected=selected, num_frames=wanted)
    chosen = np.unique(first.indices[selected])
    assert (np.diff(plan.indices) > 0).all()
    assert set(chosen) <= set(plan.indices)
    stretches = around(first.indices, chosen, num_frames - 1)
    first_of, last_of = stretches[plan.group].T
    assert ((plan.indices >= first_of) & (plan.indices <= last_of)).all()
    assert len(plan) <= wanted
    assert len(plan) == wanted or plan.notes


def test_what_cannot_be_refined():
    other = plan_frames(steady_video(919, 25), "local_resample")
    for settings, error, message in [
        ({"selected": (40,)}, FrameError, r"selected\[0\] is 40; the current plan has 32 frames, 0 to 31"),
        ({"selected": (0, -1)}, FrameError, r"selected\[1\] is -1"),
        ({"selected": range(20)}, ConfigError, r"selected is range\(0, 20\); it must be a list"),
        ({"selected": list(range(20))}, FrameError, r"holds 20 frames, and only 16 .* raise num_frames"),
        ({"selected": (1.5,)}, ConfigError, r"selected\[0\] is 1.5; it must be a whole number"),
        ({"selected": (1,), "num_frames": 0}, ConfigError, "num_frames is 0"),
        ({"selected": (1,), "current": [1, 2]}, ConfigError, "current is a list; give a FramePlan"),
        ({"current": other}, FrameError, "plan has frame 29 at 1.160 s; in clip.mp4 it is at 0.968 s"),
        ({"current": plan_frames(VC, "local_resample")}, ConfigError, "selected is empty"),
        ({"current": plan_frames(steady_video(2000, NTSC), "fps"), "selected": (0,)}, FrameError, "has 919"),
    ]:
        with pytest.raises(error, match=message):
            plan_frames(VC, "local_resample", **settings)
    with pytest.raises(FrameError, match=r"clip.mp4 has no frame"):
        plan_frames(known_video([]), "local_resample")


def test_zero_duration_and_few_frames():
    still = known_video([0.0], tail_seconds=0)
    assert plan_frames(still, "local_resample", selected=(0,)).indices.tolist() == [0]
    at_once = known_video([0.0, 0.0, 0.0], tail_seconds=0)
    plan = plan_frames(at_once, "local_resample", selected=(1,))
    assert plan.indices.tolist() == [0, 1, 2]
    assert plan.notes
