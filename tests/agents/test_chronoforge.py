"""ChronoForge on the loop: the frames at which the content turns, then one answer."""

import numpy as np
import pytest
from clips import write_clip

from framegate import plan_frames
from framegate.tools.agents.grammar import Invalid
from framegate.tools.agents.loop import run_agent
from framegate.tools.agents.speakers import scripted


@pytest.fixture(scope="module")
def three_shots(tmp_path_factory):
    """Three seconds, each of one colour."""
    colours = np.repeat([[250, 20, 20], [20, 250, 20], [20, 20, 250]], 10, axis=0)
    frames = np.broadcast_to(colours[:, None, None].astype(np.uint8), (30, 48, 64, 3))
    return write_clip(tmp_path_factory.mktemp("clips") / "shots.mp4", frames)


SETTINGS = {"num_frames": 6, "fps": 5.0}


def test_one_turn_on_the_frames_of_the_turns(three_shots):
    episode = run_agent(scripted([" two cuts\n"]), three_shots, "How many?", "chronoforge", settings=SETTINGS)
    assert (episode.answer, episode.stopped, len(episode.turns)) == ("two cuts", "answered", 1)
    plan = episode.turns[0].looked_at
    assert plan.indices.tolist() == plan_frames(str(three_shots), "apex", **SETTINGS).indices.tolist()
    assert {index // 10 for index in plan.indices.tolist()} == {0, 1, 2}


def test_an_empty_turn_is_no_answer(three_shots):
    episode = run_agent(scripted([]), three_shots, "How many?", "chronoforge", settings=SETTINGS)
    assert (episode.answer, episode.stopped) == (None, "invalid")
    assert isinstance(episode.turns[0].action, Invalid)
