"""Caps: what is beyond them is refused before it is decoded, by its name, wherever it comes in."""

import base64
import io
import pickle
import socket
import struct
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import URLError

import pytest
from clips import gradient_frames, write_clip
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

import framegate
from framegate.errors import CapError, ConfigError
from framegate.models.tiny import tiny_pair
from framegate.tokenizers.caps import Caps
from framegate.tokenizers.clip import file_index
from framegate.tokenizers.clip.address import fetched
from framegate.tokenizers.clip.public_address import is_public, public_opener

FRAMES = gradient_frames(20, height_px=56, width_px=84)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", FRAMES)


@pytest.fixture(scope="module")
def address(clip):
    """A server of this machine that gives the clip, without saying how long it is."""

    class Server(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "video/mp4")
            self.end_headers()
            self.wfile.write(clip.read_bytes())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/clip.mp4"
    server.shutdown()


@pytest.mark.parametrize(
    ("cap", "most", "message"),
    [
        ("cap_frames", 9, "has 10 frames, and cap_frames is 9: take fewer"),
        ("cap_pixels", 4703, r"has 4,704 pixels a frame \(84 x 56\), and cap_pixels is 4,703"),
        ("cap_seconds", 1.9, "has 2 seconds, and cap_seconds is 1.9"),
        ("cap_bytes", 100, "bytes, and cap_bytes is 100"),
    ],
)
def test_a_cap_refuses_what_is_beyond_it_and_lets_pass_what_is_not(clip, cap, most, message):
    with pytest.raises(CapError, match=message) as caught:
        framegate.plan_video(clip, fps=5, **{cap: most})
    assert caught.value.cap == cap
    assert pickle.loads(pickle.dumps(caught.value)).cap == cap
    room = {"cap_frames": 10, "cap_pixels": 4704, "cap_seconds": 2.0, "cap_bytes": clip.stat().st_size}
    assert len(framegate.plan_video(clip, fps=5, **room).frames) == 10
    with pytest.raises(CapError):
        framegate.plan_video(clip.read_bytes(), fps=5, **{cap: most})


def test_large_frames_are_refused_before_the_first_is_decoded(clip, monkeypatch):
    monkeypatch.setattr(file_index, "_first_picture", lambda *_: pytest.fail("decoded"))
    with pytest.raises(CapError, match="cap_pixels"):
        framegate.plan_video(clip, cap_pixels=1000)


def test_frames_that_grow_on_the_way_are_refused_where_they_do(tmp_path):
    small = write_clip(tmp_path / "a.ts", FRAMES)
    large = write_clip(tmp_path / "b.ts", gradient_frames(20, height_px=112, width_px=168))
    joined = small.read_bytes() + large.read_bytes()
    assert len(framegate.plan_video(joined, fps=10).frames) == 40
    with pytest.raises(
        CapError, match=r"18,816 pixels a frame \(168 x 112\), and cap_pixels is 4,704"
    ) as caught:
        framegate.plan_video(joined, fps=10, cap_pixels=4704)
    assert caught.value.cap == "cap_pixels"


def test_seconds_and_frames_are_those_of_the_window(clip):
    plan = framegate.plan_video(
        clip, fps=10, start_seconds=0.5, end_seconds=1.5, cap_seconds=1, cap_frames=10
    )
    assert len(plan.frames) == 10


def test_frames_and_pictures_in_memory(tmp_path):
    with pytest.raises(CapError, match="A ndarray of frames has 20 frames, and cap_frames is 19"):
        framegate.plan_video(FRAMES, cap_frames=19)
    # counted before any is opened: these are not there
    with pytest.raises(CapError, match="cap_frames"):
        framegate.plan_video([f"{number}.png" for number in range(20)], cap_frames=19)
    Image.fromarray(FRAMES[0]).save(tmp_path / "0.png")
    with pytest.raises(CapError, match="cap_pixels"):
        framegate.plan_video([tmp_path / "0.png"], cap_pixels=100)


def test_pictures_of_one_video_share_its_bytes(tmp_path):
    held = io.BytesIO()
    Image.fromarray(FRAMES[0]).save(held, "png")
    picture = held.getvalue()
    assert len(framegate.plan_video([picture] * 4, cap_bytes=4 * len(picture)).frames) == 4
    with pytest.raises(CapError, match="A list of frames has .* bytes, and cap_bytes is"):
        framegate.plan_video([picture] * 4, cap_bytes=4 * len(picture) - 1)


def test_a_picture_is_not_decoded_to_learn_that_it_is_too_large(monkeypatch):
    held = io.BytesIO()
    Image.fromarray(FRAMES[0]).save(held, "png")
    # the note of how it lies behind the pixels, where it shows only once these are read
    end, exif = held.getvalue().index(b"IEND") - 4, b"eXIfMM\0*\0\0\0\x08\0\0\0\0\0\0"
    chunk = struct.pack(">I", len(exif) - 4) + exif + struct.pack(">I", zlib.crc32(exif))
    picture = held.getvalue()[:end] + chunk + held.getvalue()[end:]
    monkeypatch.setattr(PngImageFile, "load", lambda _: pytest.fail("decoded"))
    with pytest.raises(CapError, match="cap_pixels"):
        framegate.plan_video([picture], cap_pixels=100)


def test_a_download_ends_at_the_cap(address):
    assert len(fetched(address, Caps(cap_bytes=1 << 20))) > 100
    with pytest.raises(CapError, match=r"127.0.0.1.* bytes, and cap_bytes is 100"):
        fetched(address, Caps(cap_bytes=100))


def test_a_stranger_names_public_addresses_alone(address, clip):
    public = Caps(public_only=True)
    for source in (clip, str(clip), clip.as_uri(), "/no/such/file.mp4", "file:///etc/passwd"):
        with pytest.raises(CapError, match="names no video on the public network") as caught:
            fetched(source, public)
        assert caught.value.cap == "public_only"
    with pytest.raises(CapError, match="'127.0.0.1' is no address of the public network"):
        fetched(address, public)
    # whether anything listens there is not told
    with pytest.raises(CapError, match="'localhost' is no address of the public network"):
        fetched("http://localhost:9/a.mp4", public)
    with pytest.raises(CapError, match="public network"):
        framegate.plan_video([str(clip)], caps={"public_only": True})
    data = f"data:video/mp4;base64,{base64.b64encode(clip.read_bytes()).decode()}"
    assert fetched(data, public) == clip.read_bytes()


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "169.254.169.254",
        "224.0.0.1",
        "::",
        "::1",
        "::ffff:10.0.0.1",
        "::10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
        "fd00::1",
        "fe80::1%eth0",
        "fec0::1",
    ],
)
def test_addresses_that_lead_inside_are_not_public(address):
    assert not is_public(address)


def test_addresses_of_the_network_are_public():
    assert all(map(is_public, ("93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34")))


def test_a_redirect_to_another_protocol_is_not_followed(monkeypatch):
    """The first server is taken for a public one; none of ftp:// or file:// may be asked."""

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(302)
            self.send_header("Location", f"ftp://127.0.0.1:{other.getsockname()[1]}/a.mp4")
            self.end_headers()

        def log_message(self, *_):
            pass

    monkeypatch.setattr("framegate.tokenizers.clip.public_address.is_public", lambda _: True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(0.2)
        with pytest.raises(URLError, match="unknown url type: ftp"):
            public_opener().open(f"http://127.0.0.1:{server.server_port}/", timeout=1)
        with pytest.raises(TimeoutError):
            other.accept()
    server.shutdown()


def test_a_playlist_in_bytes_opens_no_file(clip, monkeypatch):
    monkeypatch.chdir(clip.parent)
    with pytest.raises(framegate.errors.VideoError):
        framegate.open_video(b"ffconcat version 1.0\nfile clip.mp4\n")


def test_a_call_lowers_the_caps_of_the_configuration_and_never_raises_them(clip):
    model, processor = tiny_pair("qwen2_5_vl")
    messages = [{"role": "user", "content": [{"type": "video", "path": str(clip)}]}]
    ask = {"tokenize": True, "return_dict": True}
    with framegate.attach(model, processor, keep_ratio=0.5, cap_frames=12, fps=5):
        processor.apply_chat_template(messages, **ask)
        with pytest.raises(CapError, match="cap_frames is 4"):
            processor.apply_chat_template(messages, processor_kwargs={"cap_frames": 4}, **ask)
        # a share of the video's own keeps them
        messages[0]["content"][0]["keep_ratio"] = 0.25
        with pytest.raises(CapError, match="cap_frames is 4"):
            processor.apply_chat_template(messages, cap_frames=4, **ask)
        with pytest.raises(CapError, match="cap_frames is 12"):
            processor.apply_chat_template(messages, cap_frames=1000, fps=10, **ask)
        with pytest.raises(ConfigError, match="cap_frames is 0"):
            processor.apply_chat_template(messages, cap_frames=0, **ask)


def test_a_sampler_named_in_a_message_looks_within_the_caps(clip):
    model, processor = tiny_pair("qwen2_5_vl")
    video = {"type": "video", "path": str(clip), "plan": {"sampler": "fps"}}
    with framegate.attach(model, processor, keep_ratio=0.5, cap_bytes=100), pytest.raises(CapError):
        processor.apply_chat_template([{"role": "user", "content": [video]}], tokenize=True, return_dict=True)
