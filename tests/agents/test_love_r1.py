"""LOVE-R1 on the loop: padded intervals, the prompt of two resolutions, and what forces the answer."""

from itertools import repeat

import numpy as np
import pytest
from known_video import steady_video

from framegate.tools.agents.grammar import Answer, Invalid, Zoom
from framegate.tools.agents.loop import run_agent
from framegate.tools.agents.policies import policy_named
from framegate.tools.agents.policies.love_r1 import ANSWER_PREFIX, ZOOM_PREFIX
from framegate.tools.agents.rewards.love_r1 import interval_iou, love_r1_qa_reward
from framegate.tools.agents.scripts import scripted_turns
from framegate.tools.agents.speakers import scripted

VA = steady_video(349, 30)
FAST = [
    *(0, 16, 32, 47, 63, 79, 95, 111, 127, 142, 158, 174),
    *(190, 206, 221, 237, 253, 269, 285, 301, 316, 332, 348),
]


def zoom(start, end):
    return f"{ZOOM_PREFIX}\\boxed{{[{start},{end}]}}"


def group(plan, number):
    return plan.indices[plan.group == number].tolist()


def test_golden_trajectory():
    episode = run_agent(scripted([zoom(3, 8), "\\boxed{B}"]), VA, "What happens?", "love_r1")
    assert (episode.answer, episode.stopped) == ("B", "answered")
    assert [turn.action for turn in episode.turns] == [Zoom(3, 8), Answer("B")]
    assert group(episode.turns[0].looked_at, 0) == group(episode.turns[1].looked_at, 0) == FAST
    # padded to [0, 11] and seen at 2 frames per second
    assert group(episode.turns[1].looked_at, 1) == np.rint(np.linspace(0, 330, 22)).astype(int).tolist()


def test_an_interval_seen_before_forces_the_answer():
    requests, texts = [], [zoom(3, 8), zoom(4, 9), ANSWER_PREFIX + "\\boxed{C}"]

    def speak(request):
        requests.append(request)
        return texts[len(requests) - 1]

    episode = run_agent(speak, VA, "?", "love_r1")
    assert (episode.answer, episode.stopped) == ("C", "seen_before")
    assert [request.begin for request in requests] == ["", "", ANSWER_PREFIX]
    assert episode.turns[2].is_forced
    assert set(episode.turns[2].looked_at.group.tolist()) == {0, 1}


def test_slow_clips_gather_in_order_of_time_and_the_third_turn_answers():
    requests = []

    def speak(request):
        requests.append(request)
        return zoom(100, 110) if len(requests) == 1 else zoom(20, 30)

    episode = run_agent(speak, steady_video(240, 1), "What?", "love_r1")
    texts = [block["text"] for block in requests[2].messages[-1]["content"] if block["type"] == "text"]
    # 10 seconds and 5 on both sides, widened to 30
    clips = ["Subset zoom-in video clip [10, 40]:", "Subset zoom-in video clip [90, 120]:"]
    assert texts[:3] == ["Full video [0, 240]:", *clips]
    assert texts[3].startswith("What?\n")
    assert len(requests) == 3
    assert not requests[2].grows
    assert (episode.answer, episode.stopped) == (None, "invalid")
    assert isinstance(episode.turns[2].action, Invalid)


def test_sizes_are_the_papers_and_seconds_are_drawn():
    policy = policy_named("love_r1")
    for seconds, factor in ((59, 2), (60, 1)):
        state = policy.begin(steady_video(seconds, 1), "clip.mp4", "?")
        state = policy.update(state, Zoom(10, 30))
        videos = [block for block in policy.prompt(state)[-1]["content"] if block["type"] == "video"]
        assert [block["max_pixels"] for block in videos] == [32 * 784 * factor, 256 * 784 * factor]
        assert {block["plan"].time_code for block in videos} == {"burned"}
        assert {float(scale) for block in videos for scale in block["plan"].scale} == {1.0}


def test_an_hour_stays_within_the_papers_tokens():
    state = policy_named("love_r1").begin(steady_video(3600, 4), "clip.mp4", "?")
    state = policy_named("love_r1").update(state, Zoom(100, 200))
    fast, slow = np.bincount(state.plan.group)
    assert (fast, slow) == (768, 32)
    assert fast // 2 * 32 + slow // 2 * 256 == 16_384


@pytest.mark.parametrize("text", [zoom(50, 60), zoom(-20, -10)])
def test_an_interval_outside_forces_the_answer_over_the_whole_video(text):
    episode = run_agent(scripted([text, "\\boxed{A}"]), VA, "?", "love_r1")
    assert isinstance(episode.turns[0].action, Invalid)
    assert "of the video's 11.6" in episode.turns[0].action.reason
    assert (episode.answer, episode.stopped) == ("A", "too_short")
    assert group(episode.turns[1].looked_at, 1)[0] == 0
    assert group(episode.turns[1].looked_at, 1)[-1] == 348


@pytest.mark.parametrize("text", ["", "I need to zoom in", "\\boxed{[a, b]}", "\\boxed{[3, 8", "\\boxed{}"])
def test_a_malformed_turn_forces_the_answer(text):
    episode = run_agent(scripted([text, "\\boxed{A}"]), VA, "?", "love_r1")
    assert isinstance(episode.turns[0].action, Invalid)
    assert (episode.answer, episode.stopped) == ("A", "invalid_turn")
    endless = run_agent(scripted(repeat(text)), VA, "?", "love_r1")
    assert (endless.answer, endless.stopped, len(endless.turns)) == (None, "invalid", 2)


def test_overlap():
    assert interval_iou((0, 10), (5, 15)) == pytest.approx(1 / 3)
    assert interval_iou((0, 10), (10, 15)) == 0
    assert interval_iou((2, 4), (0, 10)) == pytest.approx(0.2)


@pytest.mark.parametrize("pad", [1, 2, 5])
def test_every_legal_interval_is_long_enough_once_it_is_padded(pad):
    policy = policy_named("love_r1", {"pad_seconds": pad})
    for seconds in range(1, 10):
        state = policy.begin(steady_video(2 * seconds, 2), "clip.mp4", "?")
        looks = policy.legal(state).looks
        assert bool(looks) == (seconds >= 3)
        for _, begins, _, ends, _ in looks:
            for start in range(begins.least, begins.most + 1):
                legal = ends((start,))
                assert start < legal.least <= legal.most <= seconds
                for end in range(legal.least, legal.most + 1):
                    assert policy.padded(Zoom(start, end), float(seconds)) is not None


def test_a_model_may_be_asked_the_bare_question_and_answer_in_its_own_words():
    requests = []

    def speak(request):
        requests.append(request)
        return zoom(3, 8) if len(requests) == 1 else " 7KP"

    settings = {"max_turns": 1, "answer_words": "own"}
    episode = run_agent(speak, VA, "What stands there?", "love_r1", settings=settings)
    assert (episode.answer, episode.stopped) == ("7KP", "turn_limit")
    asked = [request.messages[-1]["content"][-1]["text"] for request in requests]
    assert asked == ["What stands there?"] * 2
    assert requests[1].begin == ""
    # what follows the paper's grammar stays a look, and is no answer
    assert isinstance(policy_named("love_r1", settings).parse("\\boxed{[9, 4, 1]}"), Invalid)
    assert policy_named("love_r1", {"max_turns": 1}).parse(" 7KP") != Answer("7KP")


def test_the_reward_reads_what_the_policy_reads():
    turns = [{"role": "assistant", "content": zoom(3, 8)}, {"role": "user", "content": "shown"}]
    turns.append({"role": "assistant", "content": "7KP"})
    columns = {"answer": ["7KP"], "duration_seconds": [30.0]}
    assert love_r1_qa_reward(answer_words="own")([turns], **columns) == [2.0]
    assert love_r1_qa_reward()([turns], **columns) == [1.0]


def test_a_script_answers_in_the_policys_words():
    policy = policy_named("love_r1", {"answer_words": "own"})
    turns = scripted_turns(policy, VA, time_seconds=5.0, answer="7KP")
    assert turns == [f"{ZOOM_PREFIX}\\boxed{{[5, 6]}}", "7KP"]
    assert (
        scripted_turns("love_r1", VA, time_seconds=5.0, answer="7KP")[1] == f"{ANSWER_PREFIX}\\boxed{{7KP}}"
    )
