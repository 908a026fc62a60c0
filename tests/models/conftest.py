"""Clips for the tests of the video processor."""

import numpy as np
import pytest
from clips import gradient_frames, write_clip


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Ten seconds at 10 frames per second; half the picture stands still."""
    frames = np.repeat(gradient_frames(1, height_px=96, width_px=128), 100, axis=0)
    for number, frame in enumerate(frames):
        frame[40:60, number : number + 20] = 230
    return write_clip(tmp_path_factory.mktemp("clips") / "steady.mp4", frames)


@pytest.fixture(scope="module")
def uneven_clip(tmp_path_factory):
    """A frame every 100 ms for 2 s, then one every 400 ms."""
    times_ms = [*range(0, 2000, 100), *range(2000, 10000, 400)]
    path = tmp_path_factory.mktemp("clips") / "uneven.mp4"
    return write_clip(path, gradient_frames(len(times_ms), height_px=96, width_px=128), times_ms=times_ms)
