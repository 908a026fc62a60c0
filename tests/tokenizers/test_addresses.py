"""Addresses by one rule: every spelling of a video or a frame opens the same, or says what would work."""

import base64
import io
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from clips import gradient_frames, write_clip
from PIL import Image

import framegate
from framegate.errors import FrameError, FramegateError, VideoError, VideoNotFoundError
from framegate.tokenizers.clip import open_video
from framegate.tokenizers.clip.address import brief, fetched

FRAMES = gradient_frames(6, height_px=56, width_px=84)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clips") / "a clip, 100%.mp4", FRAMES)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures of a clip")
    for number, frame in enumerate(FRAMES):
        Image.fromarray(frame).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


def pixels(source):
    with framegate.open_video(source) as stream:
        return np.stack([frame.pixels for frame in stream.frames()])


def data_address(path, kind):
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


SPELLINGS = {
    "path": lambda clip: clip,
    "text": str,
    "file://, plain": lambda clip: f"file://{clip}",
    "file://, percent-encoded": lambda clip: clip.as_uri(),
    "file:/": lambda clip: f"file:{clip}",
    "file:/, percent-encoded": lambda clip: clip.as_uri().replace("file://", "FILE:"),
    "file://localhost": lambda clip: clip.as_uri().replace("file://", "file://localhost"),
    "data:": lambda clip: data_address(clip, "video/mp4"),
    "bytes": lambda clip: clip.read_bytes(),
    "bytearray": lambda clip: bytearray(clip.read_bytes()),
    "BytesIO": lambda clip: io.BytesIO(clip.read_bytes()),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_of_a_file_opens_everywhere(spelling, clip):
    source, expected = SPELLINGS[spelling](clip), pixels(clip)
    assert np.array_equal(pixels(source), expected)
    plan = framegate.plan_video(source, "gate", keep_ratio=0.5)
    assert np.array_equal(plan.keep, framegate.plan_video(clip, "gate", keep_ratio=0.5).keep)
    assert len(list(plan.source_frames())) == len(plan.frames)
    assert framegate.plan_frames(source, fps=5).indices.tolist() == [0, 2, 4]
    for sampler, settings in (("keyframes", {}), ("tass", {"num_frames": 2, "fps": 5})):
        planned = framegate.plan_frames(source, sampler, **settings)
        assert planned.indices.tolist() == framegate.plan_frames(clip, sampler, **settings).indices.tolist()


def test_an_open_file_stays_where_it_stood(clip):
    with clip.open("rb") as file:
        file.seek(5)
        assert len(pixels(file)) == len(FRAMES)
        assert file.tell() == 5
    with clip.open("r", encoding="latin-1") as file, pytest.raises(VideoError, match="mode 'rb'"):
        framegate.open_video(file)


def closed(file):
    file.close()
    return file


@pytest.mark.parametrize("opens", [framegate.open_video, framegate.plan_video, framegate.plan_frames])
def test_an_open_file_that_cannot_be_read_is_told(opens, clip, tmp_path):
    with (tmp_path / "written.mp4").open("wb") as written:
        for file, words in (
            (closed(clip.open("rb")), "BufferedReader cannot be read .*closed file.*open it again"),
            (closed(io.BytesIO(clip.read_bytes())), "BytesIO cannot be read .*closed file"),
            (written, "BufferedWriter cannot be read .*mode 'rb'"),
        ):
            with pytest.raises(VideoError, match=words):
                opens(file)


NAMES = ("2024-01-01T10:30:00.mp4", "file:x.mp4", "pipe:0", "concat:c.mp4", "[bold red]x.mp4", "[brack]y.mp4")


@pytest.mark.parametrize("name", NAMES)
def test_every_existing_path_opens(name, clip, tmp_path, monkeypatch):
    (tmp_path / name).write_bytes(clip.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert np.array_equal(pixels(name), pixels(clip))
    assert np.array_equal(pixels(Path(name)), pixels(clip))
    assert framegate.plan_video(name, "gate", keep_ratio=0.5).num_kept > 0
    assert framegate.plan_frames(name).indices[0] == 0


@pytest.mark.parametrize("opens", [framegate.open_video, framegate.plan_video, framegate.plan_frames])
def test_what_is_no_address_says_what_works_and_prints_no_payload(opens, clip):
    payload = base64.b64encode(clip.read_bytes() * 40).decode()
    for source, error, words in (
        (payload, VideoNotFoundError, "base64"),
        ("y" * 300 + ".mp4", VideoNotFoundError, "304 characters"),
        ("file:///nowhere/a%20b.mp4", VideoNotFoundError, "'/nowhere/a b.mp4'"),
        ("file://elsewhere/a.mp4", VideoNotFoundError, "path of this machine"),
        ("data:video/mp4;base64", VideoError, "no ','"),
        ("data:video/mp4;base64,@@@" + payload, VideoError, "no base64"),
        ("data:video/mp4;base64," + payload[:400], VideoError, "bytes>"),
        ("nowhere.mp4", VideoNotFoundError, "nowhere.mp4"),
        ("", VideoNotFoundError, "The address is empty; give a path"),
        ("file:/nowhere/a.mp4", VideoNotFoundError, "'/nowhere/a.mp4'"),
        (f"{clip}\0.mp4", VideoNotFoundError, "no name holds a NUL"),
        (f"file://{clip}\0", VideoNotFoundError, "no name holds a NUL"),
        ("\ud800.mp4", VideoNotFoundError, "no name of a file"),
    ):
        with pytest.raises(error, match=words) as caught:
            opens(source)
        assert len(str(caught.value)) < 600


def test_a_name_is_not_cut_at_a_nul(clip):
    """FFmpeg would open what stands before it."""
    with pytest.raises(VideoNotFoundError, match="no name holds a NUL"):
        framegate.open_video(f"{clip}\0.txt", format="mov")


PICTURES = {
    "paths": lambda path: path,
    "file://": lambda path: f"file://{path}",
    "file://, percent-encoded": lambda path: path.as_uri(),
    "data:": lambda path: data_address(path, "image/png"),
    "bytes": lambda path: path.read_bytes(),
    "open files": lambda path: io.BytesIO(path.read_bytes()),
    "pictures": Image.open,
}


@pytest.mark.parametrize("spelling", PICTURES)
def test_every_spelling_of_a_frame_opens(spelling, pictures):
    assert np.array_equal(pixels([PICTURES[spelling](path) for path in pictures]), FRAMES)


def test_lists_that_hold_no_frames_are_refused(clip, pictures):
    for source, words in (
        ([], "0 frames"),
        ([clip, clip], "entry of its own"),
        ([str(pictures[0]), "nowhere.png"], "Frame 1, 'nowhere.png'.*No such file"),
        ([str(pictures[0]), "y" * 300], "Frame 1: .*300 characters"),
        ([f"{pictures[0]}\0"], "Frame 0: .*no name holds a NUL"),
        ([b"no picture"], "<10 bytes>"),
        ([3, 4], "Frame 0 is a int"),
    ):
        with pytest.raises(FrameError, match=words):
            framegate.open_video(source)


def test_a_picture_that_breaks_off_is_refused(pictures):
    content = pictures[0].read_bytes()
    with pytest.raises(FrameError, match="cannot be decoded"):
        pixels([content[: len(content) // 2]])


class _Server(BaseHTTPRequestHandler):
    content = b""

    def do_GET(self):
        kind = {"/clip.mp4": "video/mp4", "/page": "text/html"}.get(self.path.partition("?")[0])
        self.send_response(404 if kind is None else 200)
        self.send_header("Content-Type", kind or "text/plain")
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture(scope="module")
def server(clip):
    handler = type("Handler", (_Server,), {"content": clip.read_bytes()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_what_a_web_address_holds_is_planned_as_the_file(server, clip):
    plan = framegate.plan_video(f"{server}/clip.mp4", "gate", keep_ratio=0.5)
    assert np.array_equal(plan.keep, framegate.plan_video(clip, "gate", keep_ratio=0.5).keep)
    assert len(list(plan.source_frames())) == len(plan.frames)
    assert framegate.plan_frames(f"{server}/clip.mp4", fps=5).indices.tolist() == [0, 2, 4]


def test_notes_name_the_address_of_what_was_downloaded(tmp_path):
    path = write_clip(tmp_path / "a.h264", gradient_frames(12), format="h264")
    handler = type("Handler", (_Server,), {"content": path.read_bytes()})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{running.server_port}/clip.mp4"
        plan = framegate.plan_video(f"{address}?sign=secret/a", "gate", keep_ratio=0.5)
        with open_video(fetched(f"{address}?sign=secret/a")) as stream:
            assert stream.info.source == f"{address}?..."
        running.shutdown()
    assert any("12 of 12 frames of clip.mp4?... have no time stamp" in note for note in plan.notes)
    assert not any("secret" in note for note in plan.notes)
    long = f"https://example.com/{'a' * 300}.mp4"
    assert brief(long) == f"{long[:60]}..."


@pytest.mark.parametrize("address", ["rtsp://127.0.0.1:9/a", "TCP://127.0.0.1:9"])
def test_a_live_source_is_not_waited_for_to_be_planned(address):
    with pytest.raises(FramegateError, match="is live and has no end to plan for"):
        framegate.plan_video(address, "gate")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("{server}/nowhere.mp4", "cannot be fetched.*404.*network"),
        ("{server}/page", "answers with text/html"),
        ("http://127.0.0.1:9/clip.mp4", "cannot be fetched.*network"),
    ],
)
def test_a_network_that_fails_is_told(server, address, words):
    with pytest.raises(FramegateError, match=words):
        framegate.plan_video(address.format(server=server))
