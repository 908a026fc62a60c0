"""EARL on the loop: a denser set takes the place of the current one."""

from itertools import repeat

import numpy as np
import pytest
from known_video import NTSC, steady_video

from framegate.tools.agents.grammar import Answer, Invalid, Select
from framegate.tools.agents.loop import run_agent
from framegate.tools.agents.speakers import scripted

VC = steady_video(919, NTSC)


def select(*frames):
    call = f'{{"name": "select_frames", "arguments": {{"target_frames": {list(frames)}}}}}'
    return f"<tool_call>{call}</tool_call>"


def test_golden_trajectory():
    episode = run_agent(scripted([select(11, 12, 26), "\\boxed{B}"]), VC, "?", "earl")
    assert (episode.answer, episode.stopped) == ("B", "answered")
    assert [turn.action for turn in episode.turns] == [Select((10, 11, 25)), Answer("B")]
    first, second = (turn.looked_at for turn in episode.turns)
    times = first.timestamps_seconds
    assert len(first) == 32
    assert np.diff(times).mean() == pytest.approx(0.988, abs=1e-3)
    # [t9, t12] and [t24, t26]: lengths 3 to 2, 10 and 6 of 16 frames
    assert np.bincount(second.group).tolist() == [10, 6]
    assert (np.diff(second.indices) > 0).all()
    for number, (start, end) in enumerate([(9, 12), (24, 26)]):
        inside = second.timestamps_seconds[second.group == number]
        assert times[start] <= inside[0]
        assert inside[-1] <= times[end]
        assert 0.3 <= np.diff(inside).mean() <= 0.4
    assert {first.indices[10], first.indices[11], first.indices[25]} <= {*second.indices.tolist()}


def test_a_second_selection_is_of_the_current_set_and_grows_denser():
    requests, texts = [], [select(16), select(8), "\\boxed{B}"]

    def speak(request):
        requests.append(request)
        return texts[len(requests) - 1]

    episode = run_agent(speak, VC, "?", "earl")
    plans = [turn.looked_at for turn in episode.turns]
    spans = [plan.timestamps_seconds[-1] - plan.timestamps_seconds[0] for plan in plans]
    assert spans[0] > spans[1] > spans[2]
    assert [len(plan) for plan in plans] == [32, 16, len(plans[2])]
    assert len(plans[2]) <= 16
    assert plans[1].indices[7] in plans[2].indices
    # the prompt keeps all sets
    shown = [
        block["plan"] for message in requests[2].messages for block in message["content"] if "plan" in block
    ]
    assert [len(plan) for plan in shown] == [len(plan) for plan in plans]
    assert all(request.grows for request in requests[1:])
    assert (episode.answer, requests[2].is_forced) == ("B", True)


def test_where_there_is_nothing_more_to_see_the_answer_is_forced():
    episode = run_agent(scripted([select(1), "\\boxed{A}"]), steady_video(40, 30), "?", "earl")
    assert (episode.answer, episode.stopped) == ("A", "exhausted")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (select(33), "there are 32 frames"),
        (select(*range(1, 10)), "at most 8"),
        (select(0), "no position"),
        ("<tool_call>{</tool_call>", "not JSON"),
        ("", "empty"),
    ],
)
def test_what_cannot_be_done_forces_the_answer(text, reason):
    episode = run_agent(scripted([text, "\\boxed{A}"]), VC, "?", "earl")
    assert isinstance(episode.turns[0].action, Invalid)
    assert reason in episode.turns[0].action.reason
    assert (episode.answer, episode.stopped) == ("A", "invalid_turn")


def test_endless_selecting_ends():
    episode = run_agent(scripted(repeat(select(1, 2))), VC, "?", "earl")
    assert (len(episode.turns), episode.answer, episode.stopped) == (3, None, "invalid")
