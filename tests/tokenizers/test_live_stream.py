"""Live sources: frames come once, with their times; devices and addresses."""

import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest
from clips import gradient_frames, write_clip

from framegate.errors import ConfigError, FrameError, VideoError
from framegate.tokenizers.clip import open_video
from framegate.tokenizers.clip.frame_queue import FrameQueue
from framegate.tokenizers.clip.opening import open_segments
from framegate.types import FramePlan

IRREGULAR_MS = [0, 40, 50, 400, 410, 1000, 1033, 1100, 2500, 2600, 2610, 4000]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """60 frames, 100 ms apart, a keyframe every 10, with B-frames."""
    return write_clip(tmp_path_factory.mktemp("clips") / "plain.mp4", gradient_frames(60))


def test_live_source_gives_frames_once_with_their_times(clip):
    with open_video(clip, format="mov", window_seconds=(0.5, 2.0)) as stream:
        assert stream.info.is_live
        assert stream.info.num_frames == 0
        frames = list(stream.frames(size_px=(24, 32)))
        assert [frame.index for frame in frames] == list(range(5, 20))
        np.testing.assert_allclose([frame.timestamp_seconds for frame in frames], np.arange(5, 20) / 10)
        with pytest.raises(FrameError, match="live and was read already"):
            stream.frames()
    with open_video(clip) as stream:
        reference = list(stream.frames(size_px=(24, 32)))
    assert all(np.array_equal(frame.pixels, reference[frame.index].pixels) for frame in frames)


def test_live_source_is_thinned_out(clip):
    with open_video(clip, format="mov", live_fps=2) as stream:
        assert [frame.index for frame in stream.frames()] == list(range(0, 60, 5))
    with open_video(clip, format="mov", live_fps=100) as stream:
        assert len(list(stream.frames())) == 60


def test_live_source_takes_no_plan(clip):
    plan = FramePlan.from_indices(np.array([0]), np.zeros(1))
    with (
        open_video(clip, format="mov") as stream,
        pytest.raises(FrameError, match="cannot be planned; thin it out with live_fps"),
    ):
        stream.frames(plan)


def test_a_device(tmp_path):
    with open_video(
        "testsrc=size=64x48:rate=10", format="lavfi", live_fps=5, window_seconds=(None, 1)
    ) as stream:
        frames = list(stream.frames(size_px=(12, 16)))
    np.testing.assert_allclose([frame.timestamp_seconds for frame in frames], [0, 0.2, 0.4, 0.6, 0.8])


@contextmanager
def folder_served(folder):
    """The address of a server that gives a folder's files."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_an_address(tmp_path):
    write_clip(tmp_path / "served.ts", gradient_frames(12))
    with folder_served(tmp_path) as address:
        with open_video(f"{address}/served.ts") as stream:
            assert stream.info.is_live
            assert len(list(stream.frames())) == 12
        with pytest.raises(VideoError, match="cannot be opened"):
            open_video(f"{address}/none.ts")


def test_a_file_behind_an_address_is_never_late(clip):
    with (
        folder_served(clip.parent) as address,
        open_video(f"{address}/{clip.name}", drop_late=True) as stream,
    ):
        time.sleep(1)
        assert len(list(stream.frames())) == 60
        assert stream.dropped_frames == 0


@contextmanager
def served(send, content_type="video/x-flv"):
    """An address at which `send`, given the connection, says what comes."""
    listening = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def run():
        while not ended.is_set():
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.recv(4096)
                    connection.sendall(f"HTTP/1.0 200 OK\r\nContent-Type: {content_type}\r\n\r\n".encode())
                    send(connection, ended)
                except OSError:
                    continue

    threading.Thread(target=run, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/live"
    finally:
        ended.set()
        listening.close()


def test_a_clock_that_starts_anew_goes_on(tmp_path):
    one = write_clip(tmp_path / "a.flv", gradient_frames(30), codec="flv1").read_bytes()
    with (
        served(lambda connection, _: connection.sendall(one + one[13:])) as address,
        open_video(address) as stream,
    ):
        times = [frame.timestamp_seconds for frame in stream.frames()]
        assert any("was put behind what came before" in note for note in stream.warnings)
    np.testing.assert_allclose(times, np.arange(60) / 10, atol=1e-6)


def test_a_camera_without_a_clock_is_timed_on_arrival():
    pictures = [cv2.imencode(".jpg", np.full((48, 64, 3), 10 * k, np.uint8))[1].tobytes() for k in range(16)]

    def send(connection, _):
        for picture in pictures:
            head = b"--f\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(picture)
            connection.sendall(head + picture + b"\r\n")
            time.sleep(0.1)

    with served(send, "multipart/x-mixed-replace; boundary=f") as address, open_video(address) as stream:
        frames = list(stream.frames())
        assert any("the clock on arrival was taken" in note for note in stream.warnings)
    assert len(frames) == 16
    # 25 frames a second, FFmpeg's guess, would end at 0.6
    assert frames[-1].timestamp_seconds > 1.2


def test_a_camera_that_sends_all_at_once_and_ends_keeps_its_frames(tmp_path):
    path = write_clip(
        tmp_path / "a.mpjpeg", gradient_frames(20), codec="mjpeg", pixel_format="yuvj420p", format="mpjpeg"
    )
    with open_video(path, format="mpjpeg") as stream:
        assert len(list(stream.frames())) == 20
        assert stream.warnings == [
            f"{path} sends frames without time stamps; the clock on arrival was taken."
        ]


@pytest.mark.parametrize(
    ("at", "become", "count", "is_told"),
    [
        (20, b"--ffmpeg--\r\n", 20, False),
        (20, b"--ffmpeg\r\n\r\n--ffmpeg--\r\n", 20, False),
        (20, b"", 20, False),
        (10, b"no boundary\r\n", 10, True),
    ],
)
def test_only_where_pictures_in_parts_break_off_it_is_told(tmp_path, at, become, count, is_told):
    path = write_clip(
        tmp_path / "a.mpjpeg", gradient_frames(20), codec="mjpeg", pixel_format="yuvj420p", format="mpjpeg"
    )
    parts = path.read_bytes().split(b"--ffmpeg\r\n")[1:]
    boundaries = [b"--ffmpeg\r\n"] * len(parts)
    boundaries[at] = become
    path.write_bytes(b"".join(line + part for line, part in zip(boundaries, parts, strict=True)))
    with open_video(path, format="mpjpeg") as stream:
        assert len(list(stream.frames())) == count
        ends = [note for note in stream.warnings if "on arrival" not in note]
    assert ends == [f"{path} ended: Invalid data found when processing input."] * is_told
    with open_video(path) as stream:
        assert len(list(stream.frames())) == count
        assert any("ended early" in note for note in stream.warnings) == is_told


def falls_silent(data):
    def send(connection, ended):
        connection.sendall(data)
        ended.wait(60)

    return send


@pytest.fixture(scope="module")
def transport_stream(tmp_path_factory):
    path = tmp_path_factory.mktemp("streams") / "a.ts"
    noise = np.random.default_rng(0).integers(0, 90, (40, 48, 64, 3), np.uint8)
    return write_clip(path, gradient_frames(40) // 2 + noise, options={"bf": "0"}).read_bytes()


def test_a_source_that_never_answers_is_given_up(transport_stream):
    with (
        served(falls_silent(b""), "video/mp2t") as address,
        pytest.raises(VideoError, match=r"gave no video within 0\.5 seconds|sent none within 0\.5 seconds"),
    ):
        open_video(address, timeout_seconds=0.5)


def test_the_scheme_of_an_address_may_be_written_large(transport_stream):
    def send(connection, _):
        connection.sendall(transport_stream)

    with served(send, "video/mp2t") as address, open_video(address.replace("http", "HTTP")) as stream:
        assert len(list(stream.frames())) == 40


def test_a_source_that_falls_silent_ends(transport_stream):
    with (
        served(falls_silent(transport_stream), "video/mp2t") as address,
        open_video(address, timeout_seconds=1) as stream,
    ):
        frames = list(stream.frames())
        assert any("sent nothing for 1 seconds" in note for note in stream.warnings)
    assert len(frames) > 20


def test_closing_from_another_thread_ends_a_read(transport_stream):
    with served(falls_silent(transport_stream), "video/mp2t") as address:
        stream = open_video(address)
        seen = []
        reads = threading.Thread(target=lambda: seen.extend(stream.frames()), daemon=True)
        reads.start()
        time.sleep(0.5)
        assert reads.is_alive()
        stream.close()
        reads.join(5)
        assert not reads.is_alive()
    assert seen


def test_closing_a_file_from_another_thread_ends_a_read(clip):
    stream = open_video(clip)
    seen, goes_on, has_begun = [], threading.Event(), threading.Event()

    def read():
        for frame in stream.frames():
            seen.append(frame.index)
            has_begun.set()
            goes_on.wait(5)

    reads = threading.Thread(target=read, daemon=True)
    reads.start()
    has_begun.wait(5)
    stream.close()
    goes_on.set()
    reads.join(5)
    assert not reads.is_alive()
    assert len(seen) < 60


def test_ctrl_c_ends_the_wait_for_a_silent_source():
    # a suite that a shell runs in the background has Ctrl-C ignored, and so have its children
    script = (
        "import signal, sys, framegate\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "print('asks', flush=True)\n"
        "framegate.open_video(sys.argv[1], timeout_seconds=60)\n"
    )
    with served(falls_silent(b""), "video/mp2t") as address:
        child = subprocess.Popen(
            [sys.executable, "-c", script, address], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert child.stdout.readline() == b"asks\n"
        time.sleep(1.0)
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=10)
    assert child.returncode == -signal.SIGINT
    assert b"KeyboardInterrupt" in errors


def test_a_live_window_shows_what_is_on_screen_at_its_start(tmp_path):
    slides = [np.full((48, 64, 3), 60 * place + 40, np.uint8) for place in range(3)]
    path = write_clip(tmp_path / "slides.mp4", slides, times_ms=[0, 20_000, 40_000])
    with open_video(path, format="mov", window_seconds=(15, 45)) as stream:
        assert [frame.timestamp_seconds for frame in stream.frames()] == [15.0, 20.0, 40.0]
    with open_video(path, format="mov", window_seconds=(45, 60)) as stream:
        assert [frame.timestamp_seconds for frame in stream.frames()] == [45.0]
    with open_video(path, format="mov", window_seconds=(0, 5)) as stream:
        assert [frame.timestamp_seconds for frame in stream.frames()] == [0.0]


@pytest.mark.parametrize("timeout_seconds", [0, -1, "3", float("nan")])
def test_a_time_limit_is_above_nothing(timeout_seconds):
    with pytest.raises(ConfigError, match="timeout_seconds is"):
        open_video("rtsp://127.0.0.1/none", timeout_seconds=timeout_seconds)


def test_a_window_read_to_its_end_ends_the_reader(transport_stream):
    before = threading.active_count()
    with served(falls_silent(transport_stream), "video/mp2t") as address:
        stream = open_video(address, window_seconds=(0, 0.5))
        assert len(list(stream.frames())) == 5
        time.sleep(0.5)
        # the server's own thread is still there
        assert threading.active_count() <= before + 1


def test_a_stream_that_nobody_holds_ends_its_reader(transport_stream):
    before = threading.active_count()
    with served(falls_silent(transport_stream), "video/mp2t") as address:
        stream = open_video(address)
        del stream
        for _ in range(50):
            # the server's own thread is still there
            if threading.active_count() <= before + 1:
                return
            time.sleep(0.1)
    raise AssertionError("the reader goes on")


def test_a_silent_rtsp_server_is_named():
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        pytest.raises(
            VideoError, match=r"gave no video within 0\.5 seconds; check that the source is sending"
        ),
    ):
        open_video(f"rtsp://127.0.0.1:{listening.getsockname()[1]}/x", timeout_seconds=0.5)


def test_frames_that_nobody_takes_in_time_give_way_to_newer_ones():
    queue = FrameQueue(2, drops_oldest=True)
    assert all(queue.put(frame) for frame in range(5))
    assert [queue.take(0), queue.take(0), queue.dropped] == [3, 4, 3]
    assert all(queue.put(frame) for frame in range(2))
    ends = threading.Thread(target=queue.put_last, args=(None,), daemon=True)
    ends.start()
    # the end waits for room, and drops nothing
    assert [queue.take(1), queue.take(1), queue.take(1), queue.dropped] == [0, 1, None, 3]
    ends.join(1)


def test_a_source_that_does_not_wait_shows_what_is_now(transport_stream):
    def send(connection, ended):
        connection.sendall(transport_stream)
        ended.wait(60)

    with (
        served(send, "video/mp2t") as address,
        open_video(address, drop_late=True, timeout_seconds=2) as stream,
    ):
        time.sleep(1)
        seen = [frame.timestamp_seconds for frame in stream.frames()]
    # the first frame was taken at once; what waited behind it were the last two of what came
    assert len(seen) < 10
    assert seen[0] == 0
    assert stream.dropped_frames + len(seen) > 20


def test_a_source_that_breaks_off_is_opened_again_and_its_times_go_on(transport_stream):
    calls = []

    def send(connection, _):
        calls.append(time.monotonic())
        if len(calls) in (1, 3):
            connection.sendall(transport_stream)

    with (
        served(send, "video/mp2t") as address,
        open_video(address, timeout_seconds=1, reconnect_seconds=1.5) as stream,
    ):
        times = [frame.timestamp_seconds for frame in stream.frames()]
        assert stream.reconnections == 1
        assert any("was interrupted and opened again" in note for note in stream.warnings)
        assert any("did not come back within 1.5 seconds" in note for note in stream.warnings)
    steps = np.diff(times)
    assert len(times) == 80
    assert steps.min() >= 0
    # the gap is that of our clock, though the source's began anew
    assert 0.5 < steps.max() < 3
    assert int(steps.argmax()) == 39


def test_a_source_that_says_how_long_it_is_is_not_read_twice(clip):
    with open_video(clip, format="mov", reconnect_seconds=60) as stream:
        assert len(list(stream.frames())) == 60
        assert stream.reconnections == 0


def test_segments_are_one_stream_whose_times_go_on(tmp_path, clip):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    with open_segments(iter([clip, broken, clip]), live_fps=5) as stream:
        assert stream.info.is_live
        frames = list(stream.frames(size_px=(24, 32)))
        assert any("broken.mp4" in note and "left out" in note for note in stream.warnings)
        with pytest.raises(FrameError, match="read already"):
            next(stream.frames())
    np.testing.assert_allclose([frame.timestamp_seconds for frame in frames], np.arange(60) / 5, atol=1e-6)
    assert [frame.index for frame in frames[:3]] == [0, 2, 4]
    assert frames[30].index == 60
    with open_video(clip) as stream:
        first = next(stream.frames(size_px=(24, 32)))
    assert np.array_equal(frames[30].pixels, first.pixels)


def test_without_a_segment_that_can_be_read_there_is_no_stream(tmp_path):
    with pytest.raises(VideoError, match="none of the segments"):
        open_segments([tmp_path / "none.mp4"])
