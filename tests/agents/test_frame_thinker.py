"""FrameThinker on the loop: the paper's indices, its limits, and turns that ask for what cannot be done."""

from dataclasses import replace
from itertools import repeat

import pytest
from known_video import NTSC, steady_video

from framegate.tools.agents.grammar import Answer, Choose, FrameAt, Invalid
from framegate.tools.agents.loop import run_agent
from framegate.tools.agents.policies import policy_named
from framegate.tools.agents.speakers import scripted

VA = steady_video(349, 30)
FIRST = [0, 49, 99, 149, 198, 248, 298, 348]


def turn(action, thought="why"):
    return f"<think>{thought}</think>\n<action>{action}</action>"


def test_golden_trajectory():
    told = [
        turn("get frame number at time 00:07"),
        turn("choose frames between 100 and 200"),
        turn("output answer: B"),
    ]
    episode = run_agent(scripted(told), VA, "What happens?", "frame_thinker")
    assert (episode.answer, episode.stopped) == ("B", "answered")
    assert [each.action for each in episode.turns] == [FrameAt(7), Choose(100, 200), Answer("B")]
    assert episode.turns[0].looked_at.indices.tolist() == FIRST
    assert (episode.turns[1].looked_at, episode.turns[1].told) == (
        None,
        "Frame number at time 00:07 is: 210.",
    )
    assert episode.turns[2].looked_at.indices.tolist() == [101, 115, 129, 143, 157, 171, 185, 199]
    frames = [each.looked_at for each in episode.turns if each.looked_at is not None]
    assert sum(map(len, frames)) == 8 * (1 + 1)
    twelve = run_agent(
        scripted([]), steady_video(919, NTSC), "?", "frame_thinker", settings={"num_frames": 12}
    )
    assert twelve.turns[0].looked_at.indices.tolist() == [
        0,
        83,
        166,
        250,
        333,
        417,
        500,
        584,
        667,
        751,
        834,
        918,
    ]


def test_the_prompt_only_grows():
    policy = policy_named("frame_thinker")
    prompts, texts = [], [turn("choose frames between 100 and 200"), turn("output answer: B")]

    def speak(request):
        prompts.append(request)
        return texts[len(prompts) - 1]

    run_agent(speak, VA, "What happens?", policy)
    first, second = (request.messages for request in prompts)
    assert [message["role"] for message in second] == ["system", "user", "assistant", "user"]
    assert (prompts[0].grows, prompts[1].grows) == (False, True)
    assert second[1]["content"][0] == first[1]["content"][0] == {"type": "text", "text": "What happens?"}
    assert second[1]["content"][1]["plan"] is first[1]["content"][1]["plan"]
    assert second[1]["content"][1]["plan"].time_code == "frame"
    assert second[3]["content"][0]["plan"].indices[0] == 101


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("<think>a</think>", "0 actions"),
        (turn("choose frames between 100 and 108"), "more than 8 frames"),
        (turn("choose frames between 200 and 100"), "more than 8 frames"),
        (turn("choose frames between 100 and 349"), "ends with frame 348"),
        (turn("get frame number at time 00:12"), "ends at 00:11"),
        (turn("look at subtitles"), "none of"),
        ("<think>a</think><action>choose frames between 1 and", "0 actions"),
    ],
)
def test_what_cannot_be_done_ends_an_attempt(text, reason):
    episode = run_agent(scripted([text, text, turn("output answer: C")]), VA, "?", "frame_thinker")
    for each in episode.turns[:2]:
        assert isinstance(each.action, Invalid)
        assert reason in each.action.reason
    assert [each.attempt for each in episode.turns] == [0, 1, 2]
    assert (episode.answer, episode.stopped) == ("C", "attempts")
    assert episode.turns[2].is_forced


def test_endless_looking_ends_at_the_papers_limits():
    look = turn("choose frames between 100 and 200")
    episode = run_agent(scripted(repeat(look)), VA, "?", "frame_thinker")
    assert [each.attempt for each in episode.turns] == [0] * 5 + [1] * 5 + [2]
    assert (episode.answer, episode.stopped) == (None, "invalid")
    assert episode.turns[-1].action == Invalid("an answer was asked for", look)
    alone = run_agent(
        scripted(repeat(look)), VA, "?", "frame_thinker", settings={"attempts": 1, "max_turns": 2}
    )
    assert [each.is_forced for each in alone.turns] == [False, False, True]


def test_the_last_attempt_asks_for_the_answer_alone():
    policy, systems = policy_named("frame_thinker", {"attempts": 2}), []

    def speak(request):
        systems.append(request.messages[0]["content"][0]["text"])
        return ""

    run_agent(speak, VA, "?", policy)
    assert "choose frames" in systems[0]
    assert "choose frames" not in systems[1]


@pytest.mark.parametrize(
    ("seconds", "size_px", "keys"),
    [
        (10, (1280, 720), {"resized_width": 640, "resized_height": 360}),
        (301, (1280, 720), {"resized_width": 448, "resized_height": 252}),
        (10, (720, 1280), {"resized_width": 202, "resized_height": 360}),
        (10, (320, 180), {}),
    ],
)
def test_frames_are_brought_down_into_the_papers_box(seconds, size_px, keys):
    video = replace(steady_video(seconds, 1), width_px=size_px[0], height_px=size_px[1])
    policy = policy_named("frame_thinker")
    state = policy.begin(video, "clip.mp4", "?")
    block = policy.prompt(state)[1]["content"][1]
    assert {name: block[name] for name in block if name.startswith("resized")} == keys
    assert len(state.plan) == (8 if seconds <= 300 else 12)
