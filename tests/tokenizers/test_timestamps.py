"""Stamps: which time a tube has, how it is written, and where."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framegate.errors import ConfigError, FrameError, PlaceholderError
from framegate.tokenizers.timestamps import (
    TimestampsConfig,
    format_stamp,
    interleave,
    tube_times_seconds,
)


@pytest.mark.parametrize(
    ("time_seconds", "seconds", "clock"),
    [
        (0.0, "<0.0s>", "<00:00>"),
        (12.34, "<12.3s>", "<00:12>"),
        (12.96, "<13.0s>", "<00:12>"),
        (2.9999999, "<3.0s>", "<00:03>"),
        (83.0, "<83.0s>", "<01:23>"),
        (3599.9, "<3599.9s>", "<59:59>"),
        (3599.9999, "<3600.0s>", "<01:00:00>"),
        (3723.5, "<3723.5s>", "<01:02:03>"),
        (360000.0, "<360000.0s>", "<100:00:00>"),
        (-0.04, "<0.0s>", "<00:00>"),
        (-1.5, "<-1.5s>", "<-00:01>"),
    ],
)
def test_format(time_seconds, seconds, clock):
    assert format_stamp(time_seconds) == seconds
    assert format_stamp(time_seconds, stamp_format="clock") == clock


@pytest.mark.parametrize("time_seconds", [float("nan"), float("inf")])
def test_times_without_end_are_refused(time_seconds):
    with pytest.raises(FrameError, match="finite"):
        format_stamp(time_seconds)


def test_unknown_format_is_refused():
    with pytest.raises(ConfigError, match=r"'minutes'.*clock, seconds"):
        TimestampsConfig(stamp_format="minutes")


@pytest.mark.parametrize(
    ("num_frames", "temporal_patch_size", "expected"),
    [
        (6, 2, (0.0, 1.0, 2.0)),
        (7, 2, (0.0, 1.0, 2.0, 3.0)),
        (5, 2, (0.0, 1.0, 2.0)),
        (1, 2, (0.0,)),
        (3, 1, (0.0, 0.5, 1.0)),
        (5, 4, (0.0, 2.0)),
    ],
)
def test_a_tube_has_the_time_of_its_first_frame(num_frames, temporal_patch_size, expected):
    times = [0.5 * number for number in range(num_frames)]
    assert tube_times_seconds(times, temporal_patch_size=temporal_patch_size) == expected


@given(st.lists(st.floats(0, 1e5), min_size=1, max_size=40), st.integers(1, 4))
def test_every_tube_has_one_time(times, temporal_patch_size):
    found = tube_times_seconds(times, temporal_patch_size=temporal_patch_size)
    assert len(found) == -(-len(times) // temporal_patch_size)
    assert all(time == times[number * temporal_patch_size] for number, time in enumerate(found))


def test_no_frame_is_refused():
    with pytest.raises(FrameError, match="at least one frame"):
        tube_times_seconds([], temporal_patch_size=2)


def test_stamps_follow_their_tubes():
    assert interleave([2, 0, 3], ["<0.0s>", "<1.0s>", "<2.0s>"], "V") == "VV<0.0s><1.0s>VVV<2.0s>"


def test_one_stamp_per_tube():
    with pytest.raises(PlaceholderError, match="1 stamps for 2 tubes"):
        interleave([2, 2], ["<0.0s>"], "V")
