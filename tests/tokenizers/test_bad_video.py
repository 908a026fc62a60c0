"""Bad input is refused with its value, its place and what would work; a broken file gives its good part."""

import os

import av
import numpy as np
import pytest
import torch
from clips import cut_in_half, flip_bytes, gradient_frames, write_clip, write_sound

from framegate.errors import FrameError, VideoError, VideoNotFoundError
from framegate.tokenizers.clip import open_video, probe
from framegate.types import FramePlan


def read_all(path, **settings):
    with open_video(path, **settings) as stream:
        frames = list(stream.frames())
    return frames, stream


def test_missing_file(tmp_path):
    with pytest.raises(VideoNotFoundError, match=r"no file at '.*gone.mp4'; check the path") as caught:
        probe(tmp_path / "gone.mp4")
    assert isinstance(caught.value, FileNotFoundError)


def test_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.ts")
    with pytest.raises(VideoError, match="is a pipe or a device, no file; open it as live, with format="):
        open_video(tmp_path / "pipe.ts")


def test_directory_and_empty_file(tmp_path):
    with pytest.raises(VideoError, match="is a directory"):
        open_video(tmp_path)
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(VideoError, match="is empty"):
        open_video(tmp_path / "empty.mp4")


@pytest.mark.parametrize("name", ["notes.mp4", "noise.mkv", "noise.bin"])
def test_what_is_no_video(tmp_path, name):
    text = b"dear diary\n" * 400
    noise = np.random.default_rng(0).integers(0, 256, 5000, np.uint8).tobytes()
    (tmp_path / name).write_bytes(text if name.startswith("notes") else noise)
    with pytest.raises(VideoError, match=f"{name}' (cannot be opened as a video|holds no video)") as caught:
        probe(tmp_path / name)
    assert isinstance(caught.value, OSError)


@pytest.mark.parametrize("name", ["none.mkv", "none.mp4", "none.avi"])
def test_no_frame(tmp_path, name):
    with pytest.raises(VideoError, match=name):
        probe(write_clip(tmp_path / name, []))


def test_sound_only(tmp_path):
    with pytest.raises(VideoError, match="holds no video, only audio"):
        probe(write_sound(tmp_path / "song.mp4"))


def test_unknown_codec(tmp_path):
    path = write_clip(tmp_path / "odd.avi", gradient_frames(5), codec="mpeg4")
    path.write_bytes(path.read_bytes().replace(b"FMP4", b"ZQ9Z"))
    with pytest.raises(VideoError, match="codec of .*odd.avi' is unknown.*convert it"):
        probe(path)


def test_every_frame_damaged(tmp_path):
    path = write_clip(tmp_path / "ruin.mp4", gradient_frames(20))
    with av.open(str(path)) as container:
        places = [(packet.pos, packet.size) for packet in container.demux() if packet.size]
    data = bytearray(path.read_bytes())
    for position, size in places:
        data[position : position + size] = bytes(size)
    path.write_bytes(data)
    with pytest.raises(VideoError, match=r"No frame of '.*ruin.mp4' \(h264\) can be decoded"):
        probe(path)


def test_mp4_without_its_header(tmp_path):
    whole = write_clip(tmp_path / "lost.mp4", gradient_frames(40))
    with pytest.raises(VideoError, match="header is lost"):
        probe(cut_in_half(whole))


@pytest.mark.parametrize("name", ["a.mkv", "a.ts", "front.mp4"])
def test_file_that_breaks_off_gives_its_good_part(tmp_path, name):
    front = {"movflags": "faststart"} if name == "front.mp4" else {}
    noise = np.random.default_rng(0).integers(0, 30, (80, 48, 64, 3), np.uint8)
    whole = write_clip(tmp_path / name, gradient_frames(80) + noise, container_options=front)
    good, _ = read_all(whole)
    frames, stream = read_all(cut_in_half(whole))
    assert 20 < len(frames) < 75
    assert any("breaks off" in text for text in stream.warnings)
    assert [frame.index for frame in frames] == list(range(len(frames)))
    for frame in frames[:20]:
        assert np.array_equal(frame.pixels, good[frame.index].pixels)
        assert frame.timestamp_seconds == good[frame.index].timestamp_seconds


@pytest.mark.parametrize("name", ["a.mkv", "a.ogg"])
def test_a_length_from_before_a_cut_is_no_promise(tmp_path, name):
    codec = {"a.ogg": "libvpx"}.get(name, "libx264")
    path = write_clip(tmp_path / name, gradient_frames(20), codec=codec)
    if name == "a.mkv":
        # as FFmpeg tags a stream
        path.write_bytes(path.read_bytes().replace(b"00:00:02.0000", b"00:01:02.0000"))
    else:
        with_tag = tmp_path / f"tagged_{name}"
        with av.open(str(path)) as old, av.open(str(with_tag), "w") as new:
            stream = new.add_stream_from_template(old.streams.video[0])
            stream.metadata["DURATION"] = "00:01:02.0"
            for packet in old.demux():
                if packet.size:
                    packet.stream = stream
                    new.mux(packet)
        path = with_tag
    with av.open(str(path)) as container:
        assert container.streams.video[0].metadata["DURATION"].startswith("00:01:02.0")
    assert read_all(path)[1].warnings == []


def test_damage_in_the_middle_leaves_frames_out_and_says_so(tmp_path):
    noise = np.random.default_rng(0).integers(0, 30, (80, 48, 64, 3), np.uint8)
    whole = write_clip(tmp_path / "hit.mp4", gradient_frames(80) + noise)
    good, _ = read_all(whole)
    hit = flip_bytes(whole, count=600)
    frames, stream = read_all(hit)
    assert len(frames) < 80
    (warning,) = [text for text in stream.warnings if "could not be decoded" in text]
    assert f"{80 - len(frames)} wanted frame" in warning
    by_index = {frame.index: frame for frame in frames}
    assert np.array_equal(by_index[10].pixels, good[10].pixels)
    assert np.array_equal(by_index[75].pixels, good[75].pixels)
    lost = sorted(set(range(80)) - set(by_index))
    with open_video(hit) as stream:
        plan = FramePlan.from_indices(np.array([lost[0], 75]), stream.info.frame_times_seconds)
        assert [frame.index for frame in stream.frames(plan)] == [75]
        with pytest.raises(VideoError, match="None of the 1 wanted frames"):
            list(stream.frames(FramePlan.from_indices(np.array(lost[:1]), stream.info.frame_times_seconds)))


@pytest.mark.parametrize(
    ("window", "message"),
    [
        ((7.0, None), r"\[7, inf\) seconds holds no frame of .*clip.mp4.*duration 4 seconds"),
        ((None, 0.0), r"\[-inf, 0\) seconds holds no frame"),
        ((-3, -1), r"\[-3, -1\) seconds holds no frame"),
        ((3.0, 1.0), r"\[3, 1\) seconds is empty"),
        ((2.0, 2.0), r"\[2, 2\) seconds is empty"),
        ((float("nan"), 2.0), r"\[nan, 2\) seconds is empty"),
        (("a", 2.0), "give \\(start, end\\) in seconds"),
        (3.0, "give \\(start, end\\) in seconds"),
    ],
)
def test_windows_that_hold_nothing(tmp_path, window, message):
    path = write_clip(tmp_path / "clip.mp4", gradient_frames(40))
    with pytest.raises(FrameError, match=message):
        open_video(path, window_seconds=window)


FRAMES = gradient_frames(3, height_px=6, width_px=8)


def spoiled(value):
    frames = FRAMES.astype(np.float32) / 255
    frames[1, 4, 5, 2] = value
    return frames


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (spoiled(np.nan), "Frame 1 holds nan at row 4, column 5"),
        (spoiled(np.inf), "Frame 1 holds inf at row 4, column 5"),
        (torch.from_numpy(spoiled(np.nan)), "Frame 1 holds nan"),
        (spoiled(3.0), r"Frame 0 has fractions, .* up to 3; .*\[0, 1\]"),
        (spoiled(-0.1), r"Frame 1 has values from -0.1 to"),
        (spoiled(255.5), r"Frame 1 has values from .* to 255.5"),
        ([FRAMES[0], FRAMES[1][:4]], r"Frame 1 is 4 x 8 px, frame 0 is 6 x 8 px"),
        (FRAMES.astype(np.float32) * 2, "Frame 0 has values from .* they must lie in 0 to 255"),
        (
            FRAMES.astype(np.uint16) << 8,
            "whole numbers must lie in 0 to 255: divide frames of more bits by their white",
        ),
        (FRAMES > 9, "Frame 0 has dtype bool; give frames"),
        (FRAMES[0], r"shape \(6, 8, 3\); give frames \[F, h, w, 3\]"),
        (FRAMES[..., :2], r"Frame 0 has shape \(6, 8, 2\), not \[h, w, 3\]"),
        (FRAMES[:, :0], r"Frame 0 has shape \(0, 8, 3\)"),
        ([], "0 frames in the list"),
        (FRAMES[:0], "0 frames in the ndarray"),
        (["a.png"], "Frame 0, 'a.png', cannot be opened as a picture"),
        ([3], "Frame 0 is a int"),
        (42, "Cannot read frames from a int"),
        (None, "Cannot read frames from a NoneType"),
    ],
)
def test_frames_in_memory_that_cannot_be_used(source, message):
    with pytest.raises(FrameError, match=message):
        open_video(source, fps=2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"timestamps_seconds": [0, 2, 1.5]}, r"timestamps_seconds\[2\] is 1.5 after 2; sort"),
        ({"timestamps_seconds": [0, 1]}, "2 entries for 3 frames"),
        ({"timestamps_seconds": [0, float("nan"), 1]}, r"timestamps_seconds\[1\] is nan"),
        ({"timestamps_seconds": [0, 1, 2], "fps": 3}, "give one of them"),
        ({"fps": 0}, "fps is 0; it must be above 0"),
        ({"live_fps": 2}, "live_fps=2 is for live sources"),
    ],
)
def test_times_in_memory_that_cannot_be_used(settings, message):
    with pytest.raises(FrameError, match=message):
        open_video(FRAMES, **settings)


def test_settings_of_another_source_are_refused(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", gradient_frames(4))
    with pytest.raises(FrameError, match="fps=2 is for frames in memory, but the source is .*clip.mp4"):
        open_video(path, fps=2)
    with pytest.raises(FrameError, match="live_fps=2 is for live sources"):
        open_video(path, live_fps=2)
    with (
        open_video(path, format="mov", live_fps=-1) as stream,
        pytest.raises(FrameError, match="live_fps is -1"),
    ):
        stream.frames()


def test_plan_beyond_the_end(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", gradient_frames(4))
    plan = FramePlan.from_indices(np.array([0, 9]), np.arange(10.0))
    with open_video(path) as stream, pytest.raises(FrameError, match="names frames 0 to 9, .* 0 to 3"):
        stream.frames(plan)
