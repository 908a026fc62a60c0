"""Apollo's clips: a constant rate inside a clip, fewer clips where a video is long."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from known_video import NTSC, known_video, steady_video

from framegate import plan_frames
from framegate.errors import ConfigError, FrameError
from framegate.tokenizers.samplers.apollo import clip_ranks


def clips_of(plan):
    return [plan.indices[plan.group == clip].tolist() for clip in range(plan.group.max() + 1)]


def test_golden_every_clip():
    plan = plan_frames(steady_video(349, 30), "apollo")
    assert clips_of(plan) == [
        [0, 15, 30, 45],
        [57, 72, 87, 102],
        [114, 129, 144, 159],
        [171, 186, 201, 216],
        [228, 243, 258, 273],
        [285, 300, 315, 330],
    ]
    spans = [plan.timestamps_seconds[plan.group == clip][[0, -1]].tolist() for clip in range(6)]
    expected = [(0, 1.5), (1.9, 3.4), (3.8, 5.3), (5.7, 7.2), (7.6, 9.1), (9.5, 11.0)]
    np.testing.assert_allclose(spans, expected)


def test_golden_a_quarter_of_the_clips():
    # r = 0.25 of 30.66 / 2 clips are 4
    plan = plan_frames(steady_video(919, NTSC), "apollo", max_frames=16)
    assert clips_of(plan) == [
        [86, 100, 114, 128],
        [315, 329, 343, 357],
        [544, 558, 572, 586],
        [773, 787, 801, 815],
    ]


def test_times_rounded_to_milliseconds_change_nothing():
    rounded = known_video(np.round(np.arange(360) / 30, 3), tail_seconds=0.034)
    assert clips_of(plan_frames(rounded, "apollo")) == clips_of(plan_frames(steady_video(360, 30), "apollo"))


def test_a_low_rate_is_not_thinned_and_half_of_the_rate_repeats():
    slow = clips_of(plan_frames(steady_video(287, 3), "apollo"))
    assert len(slow) == 48
    assert slow[:2] == [[0, 1, 2, 3], [5, 6, 7, 8]]
    assert clips_of(plan_frames(steady_video(10, 1), "apollo"))[:2] == [[0, 0, 1, 1], [2, 2, 3, 3]]


def test_clips_that_overlap_stand_in_order_of_time():
    plan = plan_frames(steady_video(61, 30), "apollo")
    assert clips_of(plan) == [[0, 15, 30, 45], [1, 16, 31, 46]]
    assert plan.indices.tolist() == [0, 1, 15, 16, 30, 31, 45, 46]


def test_short_videos_are_one_clip():
    assert plan_frames(known_video([0.0], tail_seconds=0), "apollo").indices.tolist() == [0, 0, 0, 0]
    assert plan_frames(steady_video(31, 30), "apollo").indices.tolist() == [0, 15, 30, 30]
    shorter = plan_frames(steady_video(300, 30), "apollo", max_frames=3)
    assert shorter.indices.tolist() == [127, 142, 157]
    assert shorter.notes == ("max_frames 3: 1 of 5 clips, 3 of 4 frames each",)
    # the window is one clip, and less than it is shown
    assert plan_frames(steady_video(60, 30), "apollo", max_frames=3).notes == (
        "max_frames 3: 1 of 1 clips, 3 of 4 frames each",
    )


def test_the_count_stands_for_time_where_the_rate_varies():
    # ten seconds at 4 frames per second, then ten at 40
    times = np.concatenate([np.arange(40) / 4, 10 + np.arange(400) / 40])
    plan = plan_frames(known_video(times, tail_seconds=1 / 40), "apollo")
    starts = [plan.timestamps_seconds[plan.group == clip][0] for clip in range(10)]
    np.testing.assert_allclose(np.diff(starts), 2, atol=0.4)
    spans = [np.ptp(plan.timestamps_seconds[plan.group == clip]) for clip in range(10)]
    np.testing.assert_allclose(spans, 1.5, atol=0.3)


def test_window():
    plan = plan_frames(steady_video(349, 30), "apollo", start_seconds=2.0, end_seconds=6.0)
    assert clips_of(plan) == [[60, 75, 90, 105], [120, 135, 150, 165]]


@given(
    num_frames=st.integers(2, 3000),
    fps=st.sampled_from([1, 3, 10, 24, 25, NTSC, 30, 60]),
    rate=st.sampled_from([0.5, 1, 2, 4, 7.5]),
    clip_frames=st.integers(1, 8),
    cap=st.none() | st.integers(1, 64),
)
def test_never_a_lower_rate_never_more_frames(num_frames, fps, rate, clip_frames, cap):
    plan = plan_frames(
        steady_video(num_frames, fps), "apollo", fps=rate, clip_frames=clip_frames, max_frames=cap
    )
    assert cap is None or len(plan) <= cap
    clips = clips_of(plan)
    assert {len(clip) for clip in clips} == {min(clip_frames, cap or clip_frames)}
    for clip in range(len(clips)):
        # where the file is slower than that, its own rate
        gaps = np.diff(plan.timestamps_seconds[plan.group == clip])
        assert (gaps <= max(1 / rate, 1 / fps) + 1e-2).all()
    assert len({tuple(clip) for clip in clips}) == len(clips)


def test_clips_lie_in_the_middle_of_their_parts():
    assert clip_ranks(100, 2, 4, 5.0).tolist() == [[15, 20, 25, 30], [65, 70, 75, 80]]


def test_what_cannot_be_sampled():
    with pytest.raises(FrameError, match=r"rate of clip.mp4 is unknown, for its 3 frames all come at 0"):
        plan_frames(known_video([0.0, 0.0, 0.0], tail_seconds=0), "apollo")
    with pytest.raises(ConfigError, match=r"apollo.clip_frames is 0"):
        plan_frames(steady_video(9, 3), "apollo", clip_frames=0)
    with pytest.raises(ConfigError, match=r"apollo.fps is 0.* above 0"):
        plan_frames(steady_video(9, 3), "apollo", fps=0)
    with pytest.raises(FrameError, match=r"clip.mp4 has no frame"):
        plan_frames(known_video([]), "apollo")
