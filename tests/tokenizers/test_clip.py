"""Frames come exact, in order, timed by the container, turned and resized, from every kind of source."""

import gc
import tracemalloc

import av
import cv2
import numpy as np
import pytest
import torch
from clips import gradient_frames, write_clip
from PIL import Image

from framegate.errors import ConfigError, FrameError, VideoError
from framegate.tokenizers.clip import open_video, probe
from framegate.tokenizers.clip.as_shown import orientation
from framegate.tokenizers.clip.file_index import index_file
from framegate.tokenizers.clip.file_source import FileReader
from framegate.tokenizers.clip.pixels import resize, turn
from framegate.types import FramePlan

IRREGULAR_MS = [0, 40, 50, 400, 410, 1000, 1033, 1100, 2500, 2600, 2610, 4000]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """60 frames, 100 ms apart, a keyframe every 10, with B-frames."""
    return write_clip(tmp_path_factory.mktemp("clips") / "plain.mp4", gradient_frames(60))


def luma(pixels):
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(int)


def test_probe_tells_size_times_and_codec(clip):
    info = probe(clip)
    assert (info.width_px, info.height_px, info.codec, info.rotation_degrees) == (64, 48, "h264", 0)
    assert info.num_frames == 60
    np.testing.assert_allclose(info.frame_times_seconds, np.arange(60) / 10, atol=1e-9)
    assert info.duration_seconds == pytest.approx(6.0)
    assert info.warnings == ()


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.mov"])
def test_variable_rate_times_are_the_containers(tmp_path, name):
    path = write_clip(tmp_path / name, gradient_frames(len(IRREGULAR_MS)), times_ms=IRREGULAR_MS)
    info = probe(path)
    np.testing.assert_allclose(info.frame_times_seconds * 1000, IRREGULAR_MS, atol=0.02)
    with open_video(path) as stream:
        frames = list(stream.frames())
    assert [frame.index for frame in frames] == list(range(len(IRREGULAR_MS)))
    assert [frame.timestamp_seconds for frame in frames] == info.frame_times_seconds.tolist()


def test_time_zero_is_the_first_frame_of_a_late_clip(tmp_path):
    path = write_clip(tmp_path / "late.mkv", gradient_frames(3), times_ms=[5000, 5100, 5250])
    np.testing.assert_allclose(probe(path).frame_times_seconds, [0, 0.1, 0.25], atol=1e-9)


def test_time_zero_is_the_sound_when_it_starts_first(tmp_path):
    path = write_clip(tmp_path / "sound.mkv", gradient_frames(3), times_ms=[700, 800, 900], sound_from_ms=200)
    first = probe(path).frame_times_seconds[0]
    # the encoder's own priming may move the sound by one of its frames, 128 ms
    assert 0.5 <= first <= 0.63


@pytest.mark.parametrize(("display", "rotation"), [(0, 0), (90, 270), (180, 180), (-90, 90)])
def test_rotation_is_applied_and_told(tmp_path, display, rotation):
    source = gradient_frames(3)
    path = write_clip(tmp_path / "turned.mp4", source, rotation_degrees=display)
    info = probe(path)
    expected = np.rot90(source[1], k=-rotation // 90)
    assert info.rotation_degrees == rotation
    assert (info.height_px, info.width_px) == expected.shape[:2]
    with open_video(path) as stream:
        whole = list(stream.frames())[1].pixels
        small = list(stream.frames(size_px=(20, 30)))[1].pixels
        gray = list(stream.frames(pixel_format="gray"))[1].pixels
    assert np.abs(whole.astype(int) - expected).mean() < 4
    assert np.abs(luma(whole) - gray).mean() < 1
    assert small.shape == (20, 30, 3)
    close = cv2.resize(np.ascontiguousarray(expected), (30, 20), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - close).mean() < 6


def test_turning_is_clockwise():
    picture = np.array([[1, 2], [3, 4]], np.uint8)
    assert turn(picture, 90).tolist() == [[3, 1], [4, 2]]
    assert turn(picture, 270).tolist() == [[2, 4], [1, 3]]


@pytest.mark.parametrize("clockwise", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_display_matrix_is_a_turn_and_a_mirror(clockwise, mirrored):
    cosine, sine = round(np.cos(np.radians(clockwise))), round(np.sin(np.radians(clockwise)))
    shown = np.array([[cosine, -sine], [sine, cosine]])
    shown = np.diag([-1, 1]) @ shown if mirrored else shown
    assert orientation(65536 * shown.T) == (clockwise, mirrored)
    assert orientation(np.zeros((2, 2))) == (0, False)


def test_shrinking_in_two_steps_is_the_area_average():
    picture = gradient_frames(1, height_px=120, width_px=240)[0]
    plain = cv2.resize(picture, (50, 27), interpolation=cv2.INTER_AREA)
    assert np.abs(resize(picture, (27, 50)).astype(int) - plain).max() <= 1


def test_two_passes_are_equal_and_own_their_pixels(clip):
    with open_video(clip) as stream:
        first = [frame.pixels for frame in stream.frames(size_px=(24, 32))]
        first[3][:] = 0
        second = [frame.pixels for frame in stream.frames(size_px=(24, 32))]
    assert len(first) == len(second) == 60
    assert all(np.array_equal(a, b) for a, b in zip(first[4:], second[4:], strict=True))
    assert second[3].any()


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.webm", "mpeg4.avi"])
def test_planned_frames_equal_those_of_a_full_decode(tmp_path, name):
    codec = {"a.webm": "libvpx-vp9", "mpeg4.avi": "mpeg4"}.get(name, "libx264")
    path = write_clip(tmp_path / name, gradient_frames(80), codec=codec)
    with open_video(path) as stream:
        full = {frame.index: frame.pixels for frame in stream.frames()}
        indices = np.array([0, 1, 1, 7, 38, 39, 40, 61, 79, 79])
        planned = list(stream.frames(FramePlan.from_indices(indices, stream.info.frame_times_seconds)))
        assert stream.warnings == []
    assert [frame.index for frame in planned] == indices.tolist()
    assert all(np.array_equal(frame.pixels, full[frame.index]) for frame in planned)
    assert planned[1].pixels is not planned[2].pixels


@pytest.mark.parametrize("options", [{"bf": "3"}, {"x264-params": "open-gop=1:bframes=3"}])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_seeking_equals_decoding_in_sequence(tmp_path, name, options):
    path = write_clip(tmp_path / name, gradient_frames(100), keyframe_every=20, options=options)
    index = index_file(path)
    assert index.can_seek
    assert len(index.info.codec_keyframes) == 5
    with open_video(path) as stream:
        full = [frame.pixels for frame in stream.frames()]
        for place in (19, 20, 21, 55, 99):
            plan = FramePlan.from_indices(np.array([place]), stream.info.frame_times_seconds)
            (alone,) = stream.frames(plan)
            assert alone.index == place
            assert np.array_equal(alone.pixels, full[place])


def test_seeking_skips_decoding(clip):
    reader = FileReader(index_file(clip))
    decoded = []
    decode = reader._decode
    reader._decode = lambda *a, **k: (
        decoded.append(place) or (place, frame) for place, frame in decode(*a, **k)
    )
    assert reader.frame_at(58) is not None
    reader.close()
    assert decoded == list(range(50, 59))


def test_b_frames_in_avi_and_raw_streams_are_counted(tmp_path):
    source = gradient_frames(20)
    for path in (
        write_clip(tmp_path / "b.avi", source),
        write_clip(tmp_path / "b.h264", source, format="h264"),
    ):
        with open_video(path) as stream:
            frames = list(stream.frames())
        assert [frame.index for frame in frames] == list(range(20))
        assert frames[0].timestamp_seconds == 0
        for frame, original in zip(frames, source, strict=True):
            assert np.abs(frame.pixels.astype(int) - original).mean() < 6
    # the stream names the milliseconds of its encoder's clock
    assert "have no time stamp; times are counted at 25" in stream.warnings[0]


@pytest.mark.parametrize("rate", [10, 30])
def test_a_raw_stream_is_counted_at_the_rate_that_it_names(tmp_path, rate):
    with av.open(str(tmp_path / "a.h264"), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for array in gradient_frames(20):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(array, format="rgb24")))
        container.mux(stream.encode())
    with open_video(tmp_path / "a.h264") as opened:
        assert len(list(opened.frames())) == 20
    np.testing.assert_allclose(opened.info.frame_times_seconds, np.arange(20) / rate, atol=1e-6)
    assert opened.warnings == []


@pytest.mark.parametrize(("codec", "format"), [("mjpeg", "mjpeg"), ("mjpeg", "mpjpeg"), ("h261", "h261")])
def test_a_rate_that_nobody_names_is_a_guess_and_told(tmp_path, codec, format):
    kind = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    source = gradient_frames(20, height_px=144, width_px=176)
    path = write_clip(tmp_path / f"a.{format}", source, codec=codec, pixel_format=kind, format=format)
    with open_video(path) as stream:
        assert len(list(stream.frames())) == 20
    np.testing.assert_allclose(stream.info.frame_times_seconds, np.arange(20) / 25, atol=1e-6)
    assert stream.warnings == [
        f"20 of 20 frames of a.{format} have no time stamp; times are counted at 25 frames per second, a guess. Give "
        "the true rate with ffmpeg -r RATE -i FILE NEW.mp4."
    ]


def test_a_picture_needs_no_rate(tmp_path):
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    with open_video(tmp_path / "a.png") as stream:
        assert len(list(stream.frames())) == 1
    assert stream.warnings == []


def test_hidden_vp8_frames_are_not_counted(tmp_path):
    noise = np.random.default_rng(0).integers(0, 40, (40, 48, 64, 3), np.uint8)
    options = {"auto-alt-ref": "1", "lag-in-frames": "16", "arnr-maxframes": "5", "deadline": "good"}
    path = write_clip(tmp_path / "v.webm", gradient_frames(40) + noise, codec="libvpx", options=options)
    assert probe(path).num_frames == 40
    with open_video(path) as stream:
        assert [frame.index for frame in stream.frames()] == list(range(40))
        assert stream.warnings == []


def test_time_stamps_that_start_over_are_put_behind(tmp_path):
    one = write_clip(tmp_path / "one.ts", gradient_frames(20))
    twice = tmp_path / "twice.ts"
    twice.write_bytes(one.read_bytes() * 2)
    with open_video(twice) as stream:
        assert stream.info.num_frames == 40
        assert np.all(np.diff(stream.info.frame_times_seconds) > 0)
        assert "what follows was put behind what came before" in stream.warnings[0]
        frames = list(stream.frames())
        plan = FramePlan.from_indices(np.array([25]), stream.info.frame_times_seconds)
        (planned,) = stream.frames(plan)
    assert [frame.index for frame in frames] == list(range(40))
    assert np.array_equal(frames[5].pixels, frames[25].pixels)
    assert np.array_equal(frames[25].pixels, planned.pixels)


@pytest.mark.parametrize(
    ("pixel_format", "color"),
    [
        ("yuv420p", {}),
        ("yuv420p", {"color_range": 1}),
        ("yuv420p", {"color_range": 2}),
        ("yuvj420p", {}),
        ("yuv444p", {}),
        ("yuv420p", {"colorspace": 1}),
        ("yuv420p10le", {}),
    ],
)
@pytest.mark.parametrize("size_px", [None, (24, 32), (60, 80)])
def test_gray_is_the_luma_of_rgb(tmp_path, pixel_format, color, size_px):
    frames = gradient_frames(2)
    path = write_clip(
        tmp_path / "g.mp4", frames, pixel_format=pixel_format, color=color, options={"crf": "5"}
    )
    with open_video(path) as stream:
        for rgb, gray in zip(
            stream.frames(size_px=size_px), stream.frames(size_px=size_px, pixel_format="gray"), strict=True
        ):
            assert gray.pixels.shape == rgb.pixels.shape[:2]
            difference = np.abs(luma(rgb.pixels) - gray.pixels)
            # the two scalers differ along the hard edge of the bright bar
            assert np.percentile(difference, 85) <= 2
            assert difference.mean() < 2
            if size_px is None:
                assert difference.max() <= 4


def test_gray_uses_the_full_range(tmp_path):
    frames = np.zeros((2, 48, 64, 3), np.uint8)
    frames[:, :, 32:] = 255
    path = write_clip(tmp_path / "bw.mp4", frames, options={"crf": "1"})
    with open_video(path) as stream:
        pixels = next(stream.frames(pixel_format="gray")).pixels
    assert pixels[:, :24].max() <= 2
    assert pixels[:, 40:].min() >= 253


def test_odd_sizes(tmp_path):
    path = write_clip(
        tmp_path / "odd.mkv",
        gradient_frames(3, height_px=35, width_px=33),
        codec="ffv1",
        pixel_format="yuv444p",
    )
    with open_video(path) as stream:
        assert (stream.info.height_px, stream.info.width_px) == (35, 33)
        assert [frame.pixels.shape for frame in stream.frames()] == [(35, 33, 3)] * 3
        assert next(stream.frames(size_px=(1, 1))).pixels.shape == (1, 1, 3)
        assert next(stream.frames(size_px=(7, 101), pixel_format="gray")).pixels.shape == (7, 101)


def test_clip_window_takes_start_but_not_end(clip):
    with open_video(clip, window_seconds=(1.0, 2.0)) as stream:
        assert [frame.index for frame in stream.frames()] == list(range(10, 20))
        plan = FramePlan.from_indices(np.array([12, 20]), stream.info.frame_times_seconds)
        with pytest.raises(FrameError, match="names frames 12 to 20, but the stream holds frames 10 to 19"):
            stream.frames(plan)
    with open_video(clip, window_seconds=(5.75, None)) as stream:
        # frame 57 is on screen at the start
        assert [frame.index for frame in stream.frames()] == [57, 58, 59]
        assert [frame.timestamp_seconds for frame in stream.frames()] == [5.75, 5.8, 5.9]


def test_memory_is_a_window_of_a_few_frames(clip):
    def alive():
        return sum(type(thing) is av.VideoFrame for thing in gc.get_objects())

    gc.collect()
    before = alive()
    with open_video(clip) as stream:
        counts = [alive() - before for frame in stream.frames(size_px=(24, 32)) if frame.index % 12 == 5]
    # what one packet completed and was not asked for yet
    assert max(counts) <= 6


def test_python_memory_does_not_grow_with_the_length(tmp_path):
    def peak_bytes(count):
        path = write_clip(tmp_path / f"{count}.mp4", gradient_frames(count, height_px=120, width_px=160))
        with open_video(path) as stream:
            tracemalloc.start()
            for _ in stream.frames():
                pass
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return peak

    assert peak_bytes(120) < peak_bytes(20) + 120 * 160 * 3


def test_closing_ends_a_pass_and_closes_the_file(clip):
    stream = open_video(clip)
    frames = stream.frames()
    next(frames)
    stream.close()
    assert next(frames, None) is None
    with pytest.raises(VideoError, match="closed"):
        stream.frames()


def test_abandoned_passes_leave_nothing_open(clip):
    def opened():
        gc.collect()
        return sum(issubclass(type(thing), av.container.Container) for thing in gc.get_objects())

    before = opened()
    with open_video(clip) as stream:
        for _ in range(5):
            next(stream.frames())
        waiting = stream.frames()
        next(waiting)
    assert opened() <= before + 1


def test_views_are_checked(clip):
    with open_video(clip) as stream:
        with pytest.raises(FrameError, match=r"size_px is \(0, 5\)"):
            stream.frames(size_px=(0, 5))
        with pytest.raises(ConfigError, match="Did you mean 'gray'"):
            stream.frames(pixel_format="grey")


SOURCE = gradient_frames(4, height_px=20, width_px=30)


@pytest.mark.parametrize(
    "frames",
    [
        SOURCE,
        torch.from_numpy(SOURCE),
        torch.from_numpy(SOURCE).permute(0, 3, 1, 2),
        torch.from_numpy(SOURCE).permute(0, 3, 1, 2).float() / 255,
        SOURCE.astype(np.float64) / 255,
        list(SOURCE),
        tuple(torch.from_numpy(SOURCE)),
        [Image.fromarray(frame) for frame in SOURCE],
    ],
    ids=["array", "tensor", "channels first", "float tensor", "float array", "list", "tensors", "pictures"],
)
def test_frames_in_memory_of_every_kind(frames):
    with open_video(frames, fps=8) as stream:
        assert stream.warnings == []
        assert stream.info.codec == "raw"
        assert stream.info.duration_seconds == 0.5
        given = list(stream.frames())
        np.testing.assert_array_equal([frame.pixels for frame in given], SOURCE)
        assert [frame.timestamp_seconds for frame in given] == [0, 0.125, 0.25, 0.375]
        gray = list(stream.frames(size_px=(10, 15), pixel_format="gray"))
        assert gray[0].pixels.shape == (10, 15)
        given[0].pixels[:] = 0
    assert SOURCE[0].any()


def test_bfloat16_frames():
    with open_video(torch.full((2, 3, 8, 8), 0.5, dtype=torch.bfloat16), fps=2) as stream:
        assert all((frame.pixels == 128).all() for frame in stream.frames())


def test_whole_numbers_in_floating_point_are_pixels_however_dark():
    """A chunk of a fade from black, as qwen-vl-utils hands it over."""
    dark = torch.zeros(4, 3, 8, 8)
    dark[1] = 1.0
    with open_video(dark, fps=2) as stream:
        assert [int(frame.pixels.max()) for frame in stream.frames()] == [0, 1, 0, 0]
        assert any("0 and 1 alone" in note for note in stream.warnings)
    dark[2, 0, 0, 0] = 0.5
    with open_video(dark, fps=2) as stream:
        assert [int(frame.pixels.max()) for frame in stream.frames()] == [0, 255, 128, 0]
        assert not any("0 and 1 alone" in note for note in stream.warnings)


def test_times_of_frames_in_memory():
    with open_video(SOURCE, timestamps_seconds=[1, 1.5, 1.5, 4], window_seconds=(1.2, 4)) as stream:
        assert [frame.timestamp_seconds for frame in stream.frames()] == [1.2, 1.5, 1.5]
        assert stream.info.duration_seconds == 4.5
    with open_video(SOURCE) as stream:
        assert "24 frames per second were assumed" in stream.warnings[0]
        np.testing.assert_allclose(stream.info.frame_times_seconds, np.arange(4) / 24)
