"""A clip for the clients; a test whose package is not installed skips and says which."""

import pytest
from clips import write_clip
from tiny import moving_frames


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """Two seconds at 10 frames per second."""
    return write_clip(tmp_path_factory.mktemp("clips") / "moving.mp4", moving_frames(20))
