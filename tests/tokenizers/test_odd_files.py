"""Files as people have them: mirrored, with long pixels, joined, of several pictures, with clocks that go wrong."""

import re
import struct
import time
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from clips import MILLISECOND, gradient_frames, write_clip, write_sound, write_streams

import framegate
from framegate.errors import FrameError, VideoError
from framegate.tokenizers.clip import open_video, probe
from framegate.tokenizers.clip.container import video_stream_of
from framegate.tokenizers.clip.file_index import _start_tick
from framegate.types import FramePlan

ONE, W = 0x10000, 0x40000000


def read(path, **settings):
    with open_video(path, **settings) as stream:
        frames = list(stream.frames())
        return stream.info, frames, list(stream.warnings)


def distance(pixels, others):
    return float(np.abs(pixels.astype(int) - others).mean())


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [
        ([-ONE, 0, 0, 0, ONE, 0, 64 * ONE, 0, W], lambda frame: frame[:, ::-1]),
        ([ONE, 0, 0, 0, -ONE, 0, 0, 48 * ONE, W], lambda frame: frame[::-1]),
        ([0, ONE, 0, ONE, 0, 0, 0, 0, W], lambda frame: frame.transpose(1, 0, 2)),
        ([0, ONE, 0, -ONE, 0, 0, 48 * ONE, 0, W], lambda frame: np.rot90(frame, -1)),
        (
            [0, -ONE, 0, -ONE, 0, 0, 48 * ONE, 64 * ONE, W],
            lambda frame: np.rot90(frame, 2).transpose(1, 0, 2),
        ),
    ],
)
def test_a_mirror_in_the_display_matrix_is_followed(tmp_path, matrix, shown):
    path = write_clip(tmp_path / "front.mp4", gradient_frames(3))
    data = bytearray(path.read_bytes())
    at = data.find(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(data)
    info, frames, _ = read(path)
    expected = shown(gradient_frames(3)[1])
    assert (info.height_px, info.width_px) == expected.shape[:2]
    assert distance(frames[1].pixels, expected) < 4
    with open_video(path) as stream:
        gray = [frame.pixels for frame in stream.frames(pixel_format="gray")][1]
    assert distance(gray, cv2.cvtColor(np.ascontiguousarray(expected), cv2.COLOR_RGB2GRAY)) < 4


@pytest.mark.parametrize(
    ("pixel_aspect", "size_px"),
    [(Fraction(16, 9), (48, 114)), (Fraction(3, 4), (64, 64)), (Fraction(1), (48, 64))],
)
@pytest.mark.parametrize("resample", ["area", "bicubic"])
def test_long_pixels_are_shown_square(tmp_path, pixel_aspect, size_px, resample):
    path = write_clip(tmp_path / "dvd.mkv", gradient_frames(3), pixel_aspect=pixel_aspect)
    info = probe(path)
    assert (info.height_px, info.width_px) == size_px
    assert info.pixel_aspect == pytest.approx(float(pixel_aspect))
    with open_video(path) as stream:
        shown = [frame.pixels for frame in stream.frames(resample=resample)][1]
        small = [frame.pixels for frame in stream.frames(size_px=(24, 57), resample=resample)][1]
    expected = cv2.resize(gradient_frames(3)[1], size_px[::-1], interpolation=cv2.INTER_CUBIC)
    assert shown.shape[:2] == size_px
    assert distance(shown, expected) < 5
    assert small.shape == (24, 57, 3)


def test_a_turned_picture_of_long_pixels(tmp_path):
    path = write_clip(
        tmp_path / "a.mp4", gradient_frames(2), pixel_aspect=Fraction(3, 2), rotation_degrees=90
    )
    info, frames, _ = read(path)
    assert (info.width_px, info.height_px) == (48, 96)
    wide = cv2.resize(gradient_frames(2)[0], (96, 48), interpolation=cv2.INTER_CUBIC)
    assert distance(frames[0].pixels, np.rot90(wide, -info.rotation_degrees // 90)) < 5


def joined(tmp_path, second, pixel_aspects=(None, None), **options):
    options = {"bf": "0", **options}
    first = gradient_frames(10)
    one = write_clip(tmp_path / "one.ts", first, options=options, pixel_aspect=pixel_aspects[0])
    # frames that wait for later ones are stamped behind their decoding
    begins = 10 if options["bf"] == "0" else 12
    times_ms = [100 * place for place in range(begins, begins + len(second))]
    two = write_clip(
        tmp_path / "two.ts", second, times_ms=times_ms, options=options, pixel_aspect=pixel_aspects[1]
    )
    path = tmp_path / "joined.ts"
    path.write_bytes(one.read_bytes() + two.read_bytes())
    return path


def test_a_picture_of_another_shape_midway_is_fitted_in(tmp_path):
    info, frames, notes = read(joined(tmp_path, gradient_frames(10, height_px=96, width_px=48)))
    assert {frame.pixels.shape for frame in frames} == {(48, 64, 3)}
    assert any("changes from 64 x 48 to 48 x 96 px at 1 seconds" in note for note in notes)
    assert info.num_frames == 20
    late = frames[15].pixels
    assert late[:, :18].max() < 4
    assert late[:, -18:].max() < 4
    small = cv2.resize(
        gradient_frames(10, height_px=96, width_px=48)[5], (24, 48), interpolation=cv2.INTER_AREA
    )
    assert distance(late[:, 20:44], small) < 6


def test_the_same_picture_in_another_resolution_fills_the_frame(tmp_path):
    _, frames, notes = read(joined(tmp_path, gradient_frames(10, height_px=96, width_px=128)))
    assert distance(frames[15].pixels, gradient_frames(16)[5]) < 12
    assert any("changes from 64 x 48 to 128 x 96 px" in note for note in notes)


@pytest.mark.parametrize("settings", [{}, {"format": "mpegts"}])
@pytest.mark.parametrize("b_frames", ["0", "3"])
def test_pixels_that_change_their_shape_midway_are_shown_by_their_own(tmp_path, settings, b_frames):
    aspects = (Fraction(4, 3), Fraction(16, 9))
    path = joined(tmp_path, gradient_frames(10), aspects, bf=b_frames)
    info, frames, notes = read(path, **settings)
    assert info.pixel_aspect == pytest.approx(4 / 3)
    assert {frame.pixels.shape for frame in frames} == {(48, 85, 3)}
    changes = [note for note in notes if "changes from 85 x 48 to 114 x 48 px at 1 seconds" in note]
    assert len(changes) == 1
    # wide pictures in a narrower frame have black above and below
    black = [int(frame.pixels[:4].max()) < 4 for frame in frames]
    assert black == [False] * 10 + [True] * 10
    if not settings:
        with open_video(path) as stream:
            plan = FramePlan.from_indices(np.array([0, 15]), stream.info.frame_times_seconds)
            assert np.array_equal(list(stream.frames(plan))[1].pixels, frames[15].pixels)


def test_the_containers_word_on_pixels_holds_for_all_frames(tmp_path):
    path = write_clip(tmp_path / "a.mkv", gradient_frames(20), pixel_aspect=Fraction(4, 3))
    # in place of "unit of the width shown: none" the width shown: 96 px
    data, no_unit = path.read_bytes(), b"\x54\xb2\x81\x04"
    assert data.count(no_unit) == 1
    path.write_bytes(data.replace(no_unit, b"\x54\xb0\x81\x60"))
    info, frames, notes = read(path)
    assert info.pixel_aspect == pytest.approx(1.5)
    assert (len(frames), notes) == (20, [])


@pytest.mark.parametrize("settings", [{}, {"format": "matroska"}])
def test_pixels_too_long_to_be_true_are_told(tmp_path, settings):
    path = write_clip(tmp_path / "a.mkv", gradient_frames(3), codec="mpeg4", pixel_aspect=Fraction(40))
    info, _, notes = read(path, **settings)
    assert (info.width_px, info.height_px, info.pixel_aspect) == (64, 48, 1)
    (note,) = notes
    assert note.endswith("says that its pixels are 40 times as wide as high; square ones were assumed.")


RED, GREEN = (200, 20, 20), (20, 200, 20)
DEFAULT = av.stream.Disposition.default


@pytest.mark.parametrize(
    ("streams", "taken"),
    [
        ([(RED, 32, 48, DEFAULT), (GREEN, 96, 128, 0)], GREEN),
        ([(RED, 96, 128, 0), (GREEN, 96, 128, DEFAULT)], GREEN),
        ([(RED, 96, 128, DEFAULT), (GREEN, 112, 144, 0)], RED),
        ([(RED, 96, 128, 0), (GREEN, 112, 144, 0)], GREEN),
    ],
)
def test_of_several_videos_the_one_a_player_shows_is_taken(tmp_path, streams, taken):
    path = write_streams(tmp_path / "several.mkv", streams)
    info, frames, notes = read(path)
    assert distance(frames[0].pixels[10, 10], np.array(taken)) < 12
    assert any("holds 2 video streams" in note and "video_stream" in note for note in notes)
    other = 1 - info.video_stream
    info, frames, _ = read(path, video_stream=other)
    assert info.video_stream == other
    assert distance(frames[0].pixels[10, 10], np.array(taken)) > 50
    plans = [
        framegate.plan_video(path, "gate", video_stream=number, width_px=56)
        for number in (info.video_stream, None)
    ]
    shown = [next(iter(plan.source_frames()))[5, 5].astype(int) for plan in plans]
    assert np.abs(shown[0] - shown[1]).max() > 100
    with pytest.raises(VideoError, match="video_stream is 7, which is no video stream of .*it has 0, 1"):
        open_video(path, video_stream=7)
    assert len(framegate.plan_frames(path, "keyframes", keyframe_source="content")) >= 1


@pytest.mark.parametrize("name", ["poster.mkv", "poster.mp4", "poster.ts"])
def test_what_moves_is_taken_before_a_larger_still(tmp_path, name):
    streams = [(RED, 192, 256, DEFAULT), (GREEN, 96, 128, 0)]
    _, frames, notes = read(write_streams(tmp_path / name, streams, still=0))
    assert len(frames) == 4
    assert distance(frames[0].pixels[10, 10], np.array(GREEN)) < 12
    assert any("1 of 128 x 96 px was taken (the others: 0 of 256 x 192 px)" in note for note in notes)
    _, frames, _ = read(write_streams(tmp_path / name, streams[:1], still=0))
    assert len(frames) == 1


def test_a_stream_number_is_for_files(tmp_path):
    with pytest.raises(FrameError, match="video_stream=0 is for files and live sources"):
        open_video(gradient_frames(3), video_stream=0)


def test_a_song_with_a_cover_says_what_it_holds(tmp_path):
    song = write_sound(tmp_path / "song.m4a")
    picture = cv2.imencode(".png", gradient_frames(1)[0])[1].tobytes()
    path = tmp_path / "cover.m4a"
    with av.open(str(song)) as source, av.open(str(path), "w", format="mp4") as target:
        sound = target.add_stream_from_template(source.streams.audio[0])
        cover = target.add_stream("png", rate=1)
        cover.height, cover.width, cover.pix_fmt = 48, 64, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = sound
                target.mux(packet)
        packet = av.Packet(picture)
        packet.stream, packet.pts, packet.dts, packet.time_base = cover, 0, 0, MILLISECOND
        packet.is_keyframe = True
        target.mux(packet)
    with pytest.raises(VideoError, match="holds no video, only audio and a cover picture"):
        open_video(path)


def test_rolling_refresh_is_decoded_from_where_it_can_be(tmp_path):
    options = {"x264-params": "intra-refresh=1:keyint=32:bframes=0", "crf": "40"}
    noise = np.random.default_rng(0).integers(0, 60, (100, 64, 80, 3), np.uint8)
    pictures = gradient_frames(100, height_px=64, width_px=80) // 2 + noise
    path = write_clip(tmp_path / "drone.mp4", pictures, options=options, keyframe_every=32)
    with open_video(path) as stream:
        whole = [frame.pixels for frame in stream.frames()]
        assert len(stream.codec_keyframes) > 1
    for place in (30, 33, 40, 64, 70, 97):
        with open_video(path) as stream:
            (frame,) = stream.frames(
                FramePlan.from_indices(np.array([place]), stream.info.frame_times_seconds)
            )
        assert np.array_equal(frame.pixels, whole[place]), place


@pytest.mark.parametrize(
    ("window", "shown"),
    [
        ((5, 15), [(5.0, 0)]),
        ((15, 30), [(15.0, 0), (20.0, 1)]),
        ((25, 38), [(25.0, 1)]),
        ((20, 25), [(20.0, 1)]),
        ((40.02, None), [(40.02, 2)]),
    ],
)
def test_a_window_shows_what_is_on_screen_at_its_start(tmp_path, window, shown):
    slides = [np.full((48, 64, 3), 60 * place + 40, np.uint8) for place in range(3)]
    path = write_clip(tmp_path / "slides.mp4", slides, times_ms=[0, 20_000, 40_000])
    _, frames, _ = read(path, window_seconds=window)
    assert [frame.timestamp_seconds for frame in frames] == [time for time, _ in shown]
    for frame, (_, place) in zip(frames, shown, strict=True):
        assert abs(int(frame.pixels[20, 20, 0]) - 60 * place - 40) < 6
    start, end = window
    plan = framegate.plan_frames(path, "fps", fps=2.0, start_seconds=start, end_seconds=end)
    assert plan.timestamps_seconds.tolist() == [time for time, _ in shown]
    plan = framegate.plan_frames(path, "uniform", num_frames=8, start_seconds=start, end_seconds=end)
    assert plan.timestamps_seconds[0] == shown[0][0]
    with open_video(slides, timestamps_seconds=[0, 20, 40], window_seconds=window) as stream:
        assert [frame.timestamp_seconds for frame in stream.frames()] == [time for time, _ in shown]


def test_a_part_of_a_longer_stream_does_not_break_off(tmp_path):
    """Of a DASH stream: the header of the whole, and its second half."""
    options = {"movflags": "frag_keyframe+empty_moov+default_base_moof+delay_moov"}
    path = write_clip(
        tmp_path / "dash.mp4", gradient_frames(40), keyframe_every=20, container_options=options
    )
    data = path.read_bytes()
    first, second = data.find(b"moof") - 4, data.rfind(b"moof") - 4
    assert first < second
    part = tmp_path / "part.mp4"
    part.write_bytes(data[:first] + data[second:])
    info, frames, notes = read(part)
    assert len(frames) == 20
    assert info.frame_times_seconds[0] == 0
    assert not any("breaks off" in note for note in notes)


def test_a_stream_of_another_programme_has_a_clock_of_its_own():
    class Container:
        start_time = 1_400_000
        format = type("Format", (), {"name": "mpegts"})

    class Stream:
        time_base = Fraction(1, 90_000)

    class Packets:
        stamps = None

    late = 90_000 * 3600
    start, (note,) = _start_tick(Container, Stream, Packets, late, "a.ts")
    assert start == late
    assert note.startswith(
        "a.ts starts 3598.6 seconds before its video, as by the clock of another programme"
    )
    assert _start_tick(Container, Stream, Packets, 90_000 * 2, "a.ts") == (126_000, ())


def test_damaged_frames_are_marked(tmp_path):
    path = write_clip(tmp_path / "hit.ts", gradient_frames(60), keyframe_every=60, options={"bf": "0"})
    data = bytearray(path.read_bytes())
    at = len(data) // 2
    data[at : at + 400] = bytes(400)
    path.write_bytes(data)
    _, frames, notes = read(path)
    assert any(frame.is_damaged for frame in frames) == any("patched them up" in note for note in notes)
    assert notes


def test_the_chosen_stream_can_be_decoded(tmp_path):
    path = write_streams(tmp_path / "one.mkv", [(RED, 48, 64, DEFAULT)])
    with av.open(str(path)) as container:
        assert video_stream_of(container, "one.mkv").index == 0
    assert probe(path).warnings == ()


def test_a_playlist_without_an_end_is_refused_and_a_whole_one_read(tmp_path):
    """FFmpeg would wait for its next segment for ever, and take no Ctrl-C."""
    path = tmp_path / "all.m3u8"
    with av.open(str(path), "w", format="hls") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for frame in gradient_frames(10):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    assert len(read(path)[1]) == 10
    cut = tmp_path / "cut.m3u8"
    whole = re.sub(r"(?<=TARGETDURATION:)\d+", "6", path.read_text())
    cut.write_text(whole.replace("#EXT-X-ENDLIST", ""))
    with pytest.raises(VideoError, match="cut.m3u8' is a playlist without an end: add a line #EXT-X-ENDLIST"):
        open_video(cut)
    variants = tmp_path / "variants.m3u8"
    for name, attributes in (
        ("cut.m3u8", ""),
        ("all.m3u8", 'AUDIO="a"\n#EXT-X-MEDIA:TYPE=AUDIO,URI="cut.m3u8"'),
    ):
        variants.write_text(f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,{attributes}\n{name}\n")
        with pytest.raises(VideoError, match="cut.m3u8' is a playlist without an end"):
            open_video(variants)
    variants.write_text("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nall.m3u8\n")
    assert len(read(variants)[1]) == 10
    for before in (f"{'v' * 300}.m3u8", "a\0b.m3u8", "#" + "\n #" * 20_000, " " * 20_000 + "\n" * 20_000):
        variants.write_text(f"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{before}\n \tcut.m3u8 \r\n")
        began = time.monotonic()
        with pytest.raises(VideoError, match="cut.m3u8' is a playlist without an end"):
            open_video(variants)
        assert time.monotonic() - began < 1
    # read live, FFmpeg ends it as if it were whole
    _, frames, notes = read(cut, format="hls", timeout_seconds=1)
    assert len(frames) == 10
    assert notes == [f"{cut} sent nothing for 1 seconds; reading ended."]


def test_a_text_is_no_video(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("What was said.\n" * 50)
    with pytest.raises(VideoError, match="is a text, which FFmpeg would draw"):
        open_video(path)
