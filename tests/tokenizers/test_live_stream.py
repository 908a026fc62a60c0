"""Live sources: frames come once, with their times; devices and addresses."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from clips import gradient_frames, write_clip

from framegate.errors import FrameError, VideoError
from framegate.tokenizers.clip import open_video
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


def test_an_address(tmp_path):
    write_clip(tmp_path / "served.ts", gradient_frames(12))

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with open_video(f"http://127.0.0.1:{server.server_port}/served.ts") as stream:
            assert stream.info.is_live
            assert len(list(stream.frames())) == 12
        with pytest.raises(VideoError, match="cannot be opened"):
            open_video(f"http://127.0.0.1:{server.server_port}/none.ts")
    finally:
        server.shutdown()
        server.server_close()
