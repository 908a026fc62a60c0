"""Clocks that go wrong: single wild time stamps, clocks that start anew, pauses, in files and live."""

import numpy as np
import pytest
from clips import gradient_frames, write_clip
from wild_stamps import spoil_mkv, wild_flv, wild_mkv, wild_ts

import framegate
from framegate.tokenizers.clip import open_video
from framegate.tokenizers.clip.clock import displaced, mended_clock
from framegate.tokenizers.clip.live_clock import LiveClock
from framegate.tokenizers.clip.live_thread import Arrival

TENTHS = np.arange(60) / 10


def wild_words(number, kind):
    one, many = (
        "1 frame of a.{} has a time stamp that does not fit its",
        "{} frames of a.{} have a time stamp that does not fit their",
    )
    return f"{one.format(kind) if number == 1 else many.format(number, kind)} neighbours'"


def tenths(tmp_path, kind):
    """Ten frames a second for six seconds; in ts and mkv they lean on later ones, so their order is not the file's."""
    codec = {"flv": "flv1"}.get(kind, "libx264")
    return write_clip(tmp_path / f"a.{kind}", gradient_frames(60), codec=codec)


def read(path, **settings):
    with open_video(path, **settings) as stream:
        frames = list(stream.frames())
        return stream.info, frames, list(stream.warnings)


def check_whole(path, true_frames, num_wild):
    """Every frame is there, in order, at its time, and the wild stamps were told."""
    info, frames, notes = read(path)
    np.testing.assert_allclose([frame.timestamp_seconds for frame in frames], TENTHS, atol=0.051)
    assert all(np.array_equal(one.pixels, true.pixels) for one, true in zip(frames, true_frames, strict=True))
    assert info.duration_seconds == pytest.approx(6.0, abs=0.051)
    assert [note[: note.index(",")] for note in notes] == [wild_words(num_wild, path.suffix[1:])]


@pytest.mark.parametrize(
    "changes_ms",
    [
        {30: 3_600_000},
        {30: -2900},
        {30: 800, 32: 800},
        {30: -900, 32: -900},
        {59: 3_600_000},
        {0: 3_600_000},
        {30: 3_600_000, 31: 7_200_000},
        {10: 90_000, 40: -3500},
    ],
)
def test_single_wild_time_stamps_are_put_between_their_neighbours(tmp_path, changes_ms):
    path = tenths(tmp_path, "flv")
    _, true_frames, _ = read(path)
    check_whole(wild_flv(path, changes_ms), true_frames, len(changes_ms))
    plan = framegate.plan_frames(path, "uniform", num_frames=6)
    assert plan.indices.tolist() == [5, 15, 25, 35, 45, 55]


@pytest.mark.parametrize("seconds", [3600, 60, 8, -0.9])
@pytest.mark.parametrize("numbers", [[30], [30, 31], [30, 32], [10, 30], [0], [0, 1], [59], [58, 59]])
def test_no_frame_of_a_transport_stream_is_lost_to_a_wild_stamp(tmp_path, seconds, numbers):
    path = tenths(tmp_path, "ts")
    _, true_frames, _ = read(path)
    check_whole(wild_ts(path, dict.fromkeys(numbers, seconds)), true_frames, len(numbers))


@pytest.mark.parametrize("seconds", [100, 8, 2, -2])
@pytest.mark.parametrize("number", [28, 29, 30, 31, 58, 59])
def test_a_wild_stamp_of_showing_alone(tmp_path, seconds, number):
    path = tenths(tmp_path, "ts")
    _, true_frames, _ = read(path)
    check_whole(wild_ts(path, {number: seconds}, of_showing_alone=True), true_frames, 1)


@pytest.mark.parametrize(
    "changes_ms", [{30: -2000}, {30: 5000}, {30: 20_000, 32: -2000}, {30: 5000, 31: 5000}]
)
@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_a_matroska_file_keeps_its_frames(tmp_path, changes_ms, codec):
    path = write_clip(tmp_path / "a.mkv", gradient_frames(60), codec=codec)
    _, true_frames, _ = read(path)
    check_whole(wild_mkv(path, changes_ms), true_frames, len(changes_ms))


@pytest.mark.parametrize(
    ("changes_ms", "words"),
    [
        ({59: 8000}, "The last frame of a.mkv comes 8.1 seconds behind the one before it"),
        (
            {0: 4000, **dict.fromkeys(range(1, 60), 5000)},
            "The first frame of a.mkv comes 1.1 seconds before the next",
        ),
    ],
)
def test_a_pause_at_an_end_is_kept_and_told(tmp_path, changes_ms, words):
    path = wild_mkv(write_clip(tmp_path / "a.mkv", gradient_frames(60), codec="mpeg4"), changes_ms)
    info, frames, notes = read(path)
    assert len(frames) == 60
    assert info.frame_times_seconds[-1] - info.frame_times_seconds[0] == pytest.approx(
        5.9 + (8 if 59 in changes_ms and changes_ms[59] == 8000 else 1), abs=0.01
    )
    (note,) = notes
    assert note.startswith(words)
    assert "no other step is above 0.1 seconds" in note


@pytest.mark.parametrize("seconds", [8, -2, 25])
def test_a_wild_stamp_of_a_packet_that_gives_no_frame(tmp_path, seconds):
    path = write_clip(tmp_path / "a.mkv", gradient_frames(60))
    spoil_mkv(wild_mkv(path, {35: 1000 * seconds}), 35)
    info, frames, notes = read(path)
    assert len(info.frame_times_seconds) == 60
    assert len(frames) < 60
    assert info.duration_seconds == pytest.approx(6, abs=0.051)
    assert notes[0].startswith(wild_words(1, "mkv"))
    (lost,) = [note for note in notes if "could not be decoded" in note]
    assert lost.endswith(" seconds.")
    assert float(lost.split()[-2]) == pytest.approx(3.5, abs=0.4)


def test_a_clean_clock_is_left_alone(tmp_path):
    info, _, notes = read(tenths(tmp_path, "flv"))
    assert notes == []
    np.testing.assert_allclose(info.frame_times_seconds, np.arange(60) / 10)


def test_rules_of_the_clock():
    tick = 1 / 1000
    usual = list(range(0, 6000, 100))
    assert not mended_clock(usual, tick, clock_is_free=True).changes
    # a slide that stands for twenty minutes is twenty minutes, in a container whose clock does not leap
    slides = [0, 20_000, 1_220_000, 1_240_000]
    assert not mended_clock(slides, tick, clock_is_free=False).changes
    # a clock that is started anew goes on one frame behind
    again = mended_clock(usual + usual, tick, clock_is_free=False)
    assert again.restarts == ((59, 60),)
    assert (np.array(usual + usual) + again.shifts).tolist() == list(range(0, 12_000, 100))
    # a transport stream joined to one with a clock far ahead
    ahead = usual + [stamp + 95_000_000 for stamp in usual]
    assert len(mended_clock(ahead, tick, clock_is_free=True).restarts) == 1
    assert len(mended_clock(ahead, tick, clock_is_free=False).restarts) == 1
    half_an_hour = usual + [stamp + 1_800_000 for stamp in usual]
    assert not mended_clock(half_an_hour, tick, clock_is_free=False).changes
    # a frame between two leaps
    twice = [*range(0, 2000, 100), 220_000, *range(442_000, 444_000, 100)]
    again = mended_clock(twice, tick, clock_is_free=True)
    assert (np.array(twice) + again.shifts).tolist() == list(range(0, 4100, 100))
    assert len(again.wild) == 0
    # packets without stamps go with the one before them
    some = [0, None, 200, 300, 3_600_400, 500, None, 700]
    assert mended_clock(some, tick, clock_is_free=False).shifts.tolist()[:4] == [0, 0, 0, 0]
    assert mended_clock(some, tick, clock_is_free=False).wild.tolist() == [4]
    # frames shown up to two places from where they stand in the file
    shown = [100 * place for group in range(0, 40, 4) for place in (group + 2, group, group + 1, group + 3)]
    assert not displaced(shown)
    for wild in (9_000_000, 2000, -3000):
        assert displaced([*shown[:7], wild, *shown[8:]])
    # a slide that stands for minutes
    assert not displaced([0, 300, 100, 200, *range(200_000, 204_000, 100)])


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_slides_between_frames_that_lean_on_each_other_are_no_wild_stamps(tmp_path, name):
    times_ms = [*range(0, 2000, 100), *range(202_000, 204_000, 100)]
    path = write_clip(
        tmp_path / name, gradient_frames(40), times_ms=times_ms, options={"bf": "3"}, keyframe_every=40
    )
    info, frames, notes = read(path)
    assert notes == []
    assert len(frames) == 40
    np.testing.assert_allclose(info.frame_times_seconds * 1000, times_ms, atol=0.05)
    slow = [60_000 * place for place in range(30)]
    path = write_clip(tmp_path / f"slow_{name}", gradient_frames(30), times_ms=slow, options={"bf": "3"})
    _, frames, notes = read(path)
    assert (len(frames), notes) == (30, [])


@pytest.mark.parametrize("seconds", [-0.9, 8])
def test_a_wild_first_stamp_leaves_pictures_and_sound_together(tmp_path, seconds):
    times_ms = [1500 + 100 * place for place in range(60)]
    path = write_clip(tmp_path / "a.ts", gradient_frames(60), times_ms=times_ms, sound_from_ms=0)
    true_times = read(path)[0].frame_times_seconds
    assert true_times[0] > 0.2
    info, frames, _ = read(wild_ts(path, {0: seconds}))
    np.testing.assert_allclose(info.frame_times_seconds, true_times, atol=0.001)
    assert len(frames) == 60


LIVE_FORMATS = {"flv": "flv", "ts": "mpegts"}


@pytest.mark.parametrize("kind", LIVE_FORMATS)
@pytest.mark.parametrize(
    "changes_seconds", [{30: 1800}, {30: 8}, {30: -2}, {30: 8, 31: 9, 33: 20}, {20: -1, 30: 90, 40: 1}]
)
def test_a_live_source_does_not_follow_wild_stamps(tmp_path, kind, changes_seconds):
    path = tenths(tmp_path, kind)
    if kind == "flv":
        wild_flv(path, {number: 1000 * seconds for number, seconds in changes_seconds.items()})
    else:
        wild_ts(path, changes_seconds, of_showing_alone=True)
    _, frames, notes = read(path, format=LIVE_FORMATS[kind])
    np.testing.assert_allclose([frame.timestamp_seconds for frame in frames], TENTHS, atol=0.051)
    assert [note[: note.index(",")] for note in notes] == [
        f"Frames of {path} have time stamps that do not fit their neighbours'"
    ]
    _, frames, _ = read(path, format=LIVE_FORMATS[kind], window_seconds=(1, 5))
    assert [frame.index for frame in frames] == list(range(10, 50))


@pytest.mark.parametrize("changes_ms", [{0: 1_800_000}, {0: 8000}])
def test_a_live_source_that_begins_with_a_wild_stamp(tmp_path, changes_ms):
    path = wild_flv(tenths(tmp_path, "flv"), changes_ms)
    _, frames, notes = read(path, format="flv")
    np.testing.assert_allclose([frame.timestamp_seconds for frame in frames], TENTHS, atol=1e-6)
    assert len(notes) == 1


def test_a_live_pause_is_time_that_passed(tmp_path):
    changes_ms = dict.fromkeys(range(30, 60), 8000)
    _, frames, notes = read(wild_flv(tenths(tmp_path, "flv"), changes_ms), format="flv")
    np.testing.assert_allclose([frame.timestamp_seconds for frame in frames], TENTHS + 8 * (TENTHS > 2.95))
    assert notes == []


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_a_live_avi_whose_frames_lean_on_later_ones(tmp_path, codec):
    options = {"bf": "3"} if codec == "libx264" else {"bf": "2"}
    path = write_clip(tmp_path / "a.avi", gradient_frames(60), codec=codec, options=options)
    _, true_frames, _ = read(path)
    _, frames, notes = read(path, format="avi")
    np.testing.assert_allclose([frame.timestamp_seconds for frame in frames], TENTHS, atol=1e-6)
    assert all(np.array_equal(one.pixels, true.pixels) for one, true in zip(frames, true_frames, strict=True))
    assert notes == []


@pytest.mark.parametrize(("seconds", "gap_seconds"), [(8, 8.1), (900, 0.1)])
def test_a_live_end_that_stands_apart_is_told_or_put_back(tmp_path, seconds, gap_seconds):
    path = wild_flv(tenths(tmp_path, "flv"), {59: 1000 * seconds})
    _, frames, notes = read(path, format="flv")
    assert frames[-1].timestamp_seconds == pytest.approx(5.8 + gap_seconds, abs=0.001)
    (note,) = notes
    pause = f"The end of {path} comes 8.1 seconds behind the frame before it: a pause, or a wild time stamp;"
    assert note.startswith(pause if seconds == 8 else f"Frames of {path} have time stamps that do not fit")


def test_a_live_source_holds_frames_back_only_in_doubt():
    asked, notes = [], []

    def coming(stamps, arrivals):
        for stamp, seconds in zip(stamps, arrivals, strict=True):
            asked.append(stamp)
            yield stamp, Arrival(seconds, None, 1.0)

    def held(stamps, arrivals):
        """How many frames had come when each was given."""
        asked.clear()
        clock = LiveClock("a", clock_is_free=True, note=notes.append)
        return [(round(now, 6), len(asked)) for _, now, _ in clock.timed(coming(stamps, arrivals))]

    usual = [0.0, 0.1, 0.2, 0.3]
    assert held(usual, [0.0] * 4) == [(0.0, 1), (0.1, 2), (0.2, 3), (0.3, 4)]
    # a pause that our clock saw too
    assert held([0.0, 0.1, 8.0, 8.1], [0.0, 0.1, 8.0, 8.1])[2] == (8.0, 3)
    assert held([0.0, 0.1, 8.0, 0.3, 0.4], [0.0] * 5)[2:] == [(0.2, 5), (0.3, 5), (0.4, 5)]
    # a wild stamp that came late enough for a pause is given; the clock that was right is gone on with
    assert notes.pop().startswith("Frames of a have time stamps that do not fit")
    late = held([0.0, 0.1, 2.0, 0.3, 0.4, 2.2], [0.0, 0.1, 2.0, 2.0, 2.0, 4.0])
    assert [now for now, _ in late] == [0.0, 0.1, 2.0, 2.0, 2.0, 2.2]
    assert notes == [
        "Frames of a have time stamps that do not fit their neighbours', the first is number 2 at 2 seconds; they were "
        "put between their neighbours."
    ]
