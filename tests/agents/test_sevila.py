"""SeViLA on the loop: a localizer chooses, the answerer sees the best frames in order."""

import numpy as np
import pytest
from clips import write_clip

from framegate.errors import ConfigError
from framegate.tools.agents.grammar import Select
from framegate.tools.agents.loop import run_agent
from framegate.tools.agents.speakers import scripted


class Brightness:
    """How bright a frame is, whatever is asked."""

    def score_frames(self, frames, text):
        return frames.mean(axis=(1, 2, 3))


@pytest.fixture(scope="module")
def flashes(tmp_path_factory):
    """Ten dark frames, of which 2, 5 and 7 are bright."""
    light = np.full(10, 30, np.uint8)
    light[[2, 5, 7]] = 200, 250, 220
    frames = np.broadcast_to(light[:, None, None, None], (10, 48, 64, 3))
    return write_clip(tmp_path_factory.mktemp("clips") / "flashes.mp4", frames)


def test_localises_then_answers(flashes):
    settings = {"scorer": Brightness(), "num_candidates": 10, "num_frames": 3}
    requests = []

    def speak(request):
        requests.append(request)
        return "three"

    episode = run_agent(speak, flashes, "How many flashes?", "sevila", settings=settings)
    localised, answered = episode.turns
    assert localised.action == Select((2, 5, 7))
    assert localised.looked_at.indices.tolist() == list(range(10))
    # one that does not count is told of
    assert localised.video_tokens is None
    assert "did not count their tokens" in localised.notes[-1]
    assert answered.looked_at.indices.tolist() == [2, 5, 7]
    assert (episode.answer, episode.stopped) == ("three", "answered")
    content = requests[0].messages[0]["content"]
    assert [block["text"] for block in content if block["type"] == "text"] == [
        *("Frame 1: ", "Frame 2: ", "Frame 3: "),
        "How many flashes?",
    ]
    assert episode.settings["scorer"] == "Brightness"


class Counting(Brightness):
    """Five tokens a frame, the first ones read before the episode."""

    video_tokens = 100

    def score_frames(self, frames, text):
        self.video_tokens += 5 * len(frames)
        return super().score_frames(frames, text)


def test_what_a_localizer_reads_is_counted(flashes):
    settings = {"scorer": Counting(), "num_candidates": 10, "num_frames": 3}
    episode = run_agent(scripted(["three"]), flashes, "?", "sevila", settings=settings)
    assert episode.turns[0].video_tokens == 50
    assert not any("did not count" in note for note in episode.turns[0].notes)


def test_needs_a_localizer(flashes):
    with pytest.raises(ConfigError, match="sevila has no localizer"):
        run_agent(scripted(["a"]), flashes, "?", "sevila")
