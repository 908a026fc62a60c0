"""Rewards of video agents by hand: golden trajectories, one bad trajectory for each rule, and anything at all."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framegate.errors import ConfigError
from framegate.tools.agents.rewards import (
    ccv_validate,
    contrast_reward,
    earl_reward,
    for_verl,
    frame_thinker_reward,
    love_r1_grounding_reward,
    love_r1_qa_reward,
)

NUM_FRAMES = 349  # the notes' clip va, at 30 frames a second


def said(text):
    return {"role": "assistant", "content": text}


def told(text):
    return {"role": "user", "content": [{"type": "text", "text": text}, {"type": "image"}]}


def turn(action, think="It is not clear yet."):
    return said(f"<think>{think}</think><action>{action}</action>")


def choose(start, end, think=None):
    return turn(f"choose frames between {start} and {end}", think or f"Look between {start} and {end}.")


def frame_at(time):
    return turn(f"get frame number at time {time}")


def reply(time, frame):
    return told(f"Frame number at time {time} is: {frame}.")


GOOD = [
    frame_at("00:07"),
    reply("00:07", 210),
    choose(150, 300),
    told("frame 151:"),
    turn("output answer: B"),
]
ANSWER = turn("output answer: B")


def as_text(messages):
    texts = [m["content"] if isinstance(m["content"], str) else m["content"][0]["text"] for m in messages]
    return "\n".join(texts)


# rule -> trajectories that break it and no other
BAD = {
    "format": [
        [],
        [said("B")],
        [said("<think>so</think>"), ANSWER],
        [choose(150, 300)],
        [choose(150, 300), told(""), turn("output answer:")],
    ],
    "redundancy": [
        [choose(0, 348), told(""), ANSWER],
        [choose(150, 300), told(""), choose(150, 300), told(""), ANSWER],
        [choose(150, 300), told(""), choose(151, 299), told(""), ANSWER],
        [*GOOD[:4], frame_at("0:07"), reply("0:07", 210), choose(160, 290), told(""), ANSWER],
    ],
    "validity": [[choose(150, 158), told(""), ANSWER], [choose(300, 150), told(""), ANSWER]],
    "fidelity": [
        [choose(150, 300, "Between 100 and 300."), told(""), ANSWER],
        [choose(150, 300, "From 300 back to 150."), told(""), ANSWER],
        [choose(150, 300, "From 150 on."), told(""), ANSWER],
        [choose(150, 300, "At 150:300 or so."), told(""), ANSWER],
    ],
    "flow": [
        [frame_at("00:07"), reply("00:07", 210), choose(220, 300), told(""), ANSWER],
        [frame_at("00:07"), reply("00:07", 210), ANSWER],
        [frame_at("00:07"), ANSWER],
        [
            choose(150, 300),
            told(""),
            frame_at("00:07"),
            told("no such time"),
            choose(160, 290),
            told(""),
            ANSWER,
        ],
    ],
    "action": [
        [ANSWER, told(""), ANSWER],
        [turn("read subtitles"), told(""), ANSWER],
    ],
}
BAD_CASES = [(rule, messages) for rule, cases in BAD.items() for messages in cases]


def frame_thinker(completion, preset="paper", question="What happens at 0:07?", **settings):
    reward = frame_thinker_reward(preset, **settings)
    return reward([completion], answer=["B"], num_frames=[NUM_FRAMES], question=[question], prompts=["p"])[0]


@pytest.mark.parametrize("form", [list, as_text])
def test_a_good_trajectory_is_consistent_and_earns_both_presets(form):
    completion = form(GOOD)
    assert ccv_validate(completion, num_frames=NUM_FRAMES) is None
    assert ccv_validate(completion, num_frames=NUM_FRAMES, strict=True) is None
    assert frame_thinker(completion) == pytest.approx(1.2)
    assert frame_thinker(completion, "code") == pytest.approx(1.52)
    assert frame_thinker(completion, "code", question="What happens?") == pytest.approx(1.02)
    assert frame_thinker(completion, choose_bonus=0.1) == pytest.approx(1.3)


@pytest.mark.parametrize(("rule", "messages"), BAD_CASES)
@pytest.mark.parametrize("preset", ["paper", "code"])
def test_each_broken_rule_earns_nothing(rule, messages, preset):
    assert ccv_validate(messages, num_frames=NUM_FRAMES).rule == rule
    assert frame_thinker(messages, preset) == 0.0


def test_answers_alone_wrong_ones_and_frame_0_earn_no_more():
    assert frame_thinker([ANSWER]) == 1.0
    assert frame_thinker([*GOOD[:4], turn("output answer: C")]) == 0.0
    assert frame_thinker([frame_at("0:00"), reply("0:00", 0), choose(0, 90), told(""), ANSWER]) == 1.0


def test_inference_holds_some_rules_harder_and_others_not():
    def strict(messages, **options):
        return ccv_validate(messages, num_frames=NUM_FRAMES, strict=True, **options)

    twice = [frame_at("0:07"), reply("0:07", 210), frame_at("0:08"), reply("0:08", 240), *GOOD[2:]]
    assert ccv_validate(twice, num_frames=NUM_FRAMES) is None
    assert strict(twice).rule == "flow"
    for messages in [*BAD["fidelity"], BAD["redundancy"][0], BAD["redundancy"][2]]:
        assert strict(messages) is None
    near = [choose(150, 162), told(""), ANSWER]
    assert strict(near) is None
    assert strict(near, frames_per_turn=12).rule == "validity"


def test_a_model_cannot_reply_to_itself_in_a_chat():
    forged = [said(as_text([frame_at("0:07"), reply("0:07", 210)])), choose(150, 300), told(""), ANSWER]
    assert ccv_validate(forged, num_frames=NUM_FRAMES).rule == "flow"


def test_an_action_without_a_thought_is_no_reply():
    text = as_text([ANSWER]) + "<action>read subtitles</action>"
    assert ccv_validate(text, num_frames=NUM_FRAMES).rule == "format"


def test_a_long_completion_takes_no_longer_than_its_length():
    for piece in ("9", "</action>", "<think>", "<action>", "\\boxed{"):
        assert frame_thinker(piece * 20_000) == 0
        short = frame_thinker([ANSWER], "code", question=piece)
        assert frame_thinker([ANSWER], "code", question=piece * 20_000) == short


def boxed(content):
    return said(f"\\boxed{{{content}}}")


def grounding(text, duration=120.0, targets=((30, 40),), zoomed=(), least_iou=0.0):
    reward = love_r1_grounding_reward(least_iou=least_iou)
    return reward([[said(text)]], duration_seconds=[duration], targets=[targets], zoomed=[zoomed])[0]


@pytest.mark.parametrize(
    ("interval", "earned"),
    [
        ("[35, 60]", 2.0),
        ("[60, 35]", 2.0),
        ("[40, 60]", 1.0),  # touches the target
        ("[121, 101]", 1.0),
        ("[102, 122]", 0.0),  # more than a second over
        ("[-1, 35]", 0.0),
        ("[20, 80]", 2.0),
        ("[20, 81]", 0.0),  # longer than a minute
        ("[30, 30]", 0.0),
        ("[30.5, 35]", 0.0),
        ("B", 0.0),
    ],
)
def test_love_r1_grounding_is_form_and_overlap(interval, earned):
    assert grounding(f"I need to zoom in on the video.\n\n\\boxed{{{interval}}}") == earned


def test_grounding_may_ask_for_close_intervals():
    assert grounding(r"\boxed{[30, 50]}", least_iou=0.4) == 2.0
    assert grounding(r"\boxed{[30, 50]}", least_iou=0.5) == 1.0  # it is one half
    with pytest.raises(ConfigError, match="least_iou"):
        love_r1_grounding_reward(least_iou=1.0)


def test_love_r1_limits_intervals_to_half_of_a_short_video_and_to_new_ones():
    assert grounding(r"\boxed{[0, 10]}", duration=20.0, targets=[(5, 6)]) == 2.0
    assert grounding(r"\boxed{[0, 11]}", duration=20.0, targets=[(5, 6)]) == 0.0
    assert grounding(r"\boxed{[30, 40]}", zoomed=[(30, 44)]) == 0.0  # IoU 0.714
    assert grounding(r"\boxed{[30, 40]}", zoomed=[(30, 45)]) == 2.0  # IoU 0.667


@pytest.mark.parametrize(
    ("messages", "earned"),
    [
        ([boxed("B")], 2.0),
        ([boxed("b. the red one")], 2.0),
        ([boxed("C")], 1.0),
        ([boxed("[30, 40]"), told(""), boxed("B")], 2.0),
        ([boxed("[30, 40]"), told(""), boxed("C")], 1.0),
        ([boxed("[30, 40]"), told(""), said("no box")], 1.0),
        ([boxed("[30, 40]")], 1.0),
        ([boxed("[30, 130]"), told(""), boxed("B")], 0.0),
        ([said("")], 0.0),
        ([], 0.0),
    ],
)
def test_love_r1_answers_pay_for_the_zoom_before_them(messages, earned):
    assert love_r1_qa_reward()([messages], answer=["B"], duration_seconds=[120.0]) == [earned]


def test_a_second_zoom_is_left_out_of_the_group():
    rows = [[boxed("[30, 40]"), told(""), boxed("[50, 60]")], [boxed("B")]]
    masked, right = love_r1_qa_reward()(rows, answer=["B"] * 2, duration_seconds=[120.0] * 2)
    assert math.isnan(masked)
    assert right == 2.0


def select(*frames):
    call = {"name": "select_frames", "arguments": {"target_frames": list(frames)}}
    return said(f"<tool_call>{json.dumps(call)}</tool_call>")


def earl(messages, progress=0.0, key_frames=(4, 5), **columns):
    return earl_reward()([messages], answer=["B"], key_frames=[key_frames], progress=[progress], **columns)[0]


@pytest.mark.parametrize(
    ("messages", "early", "late"),
    [
        ([select(5, 6), boxed("B")], 1 + 0.5 + 0.1, 1 + 0.1 + 0.5),
        ([select(5), boxed("B")], 1 + 0.5 + 0.05, 1 + 0.1 + 0.25),  # an IoU of one half is pure
        ([select(5, 7), boxed("B")], 0.5 + 0.5 + 0.1 / 3, 0.5 + 0.1 + 0.5 / 3),
        ([boxed("B")], 0.5, 0.5),
        ([select(5, 6), boxed("C")], -1 + 0.5 + 0.1, -1 + 0.1 + 0.5),
        ([select(0), boxed("B")], 0.5, 0.5),  # selects nothing that is there
        ([], -1.0, -1.0),
    ],
)
def test_earl_tiers_and_schedule(messages, early, late):
    assert earl(messages, 0.5) == pytest.approx(early)
    assert earl(messages, 0.51) == pytest.approx(late)


def test_earl_counts_frames_of_later_rounds_by_the_nearest_first_one():
    shown = [[float(second) for second in range(8)], [4.0, 4.3, 4.7, 5.0]]
    twice = [select(5), told(""), select(3, 900), boxed("B")]  # 4 s, then 4.7 s and one that was not shown
    assert earl(twice, shown_seconds=[shown]) == pytest.approx(1 + 0.5 + 0.1)


def test_earl_reads_a_trajectory_of_text_as_it_reads_its_messages():
    for messages in ([select(5, 6), told("Frames 1 to 16:"), boxed("B")], [boxed("B")], [select(5)]):
        assert earl(as_text(messages)) == earl(messages)


def test_earl_reads_the_trainers_progress():
    class State:
        global_step, max_steps = 9, 10

    columns = {"answer": ["B"], "key_frames": [(4,)]}
    assert earl_reward()([[select(5), boxed("B")]], **columns, trainer_state=State()) == pytest.approx([1.6])
    with pytest.raises(ConfigError, match="progress"):
        earl_reward()([[boxed("B")]], **columns)


def test_contrast_pays_where_chosen_frames_beat_both_negatives():
    def contrast(negatives, saliency=0.5):
        return contrast_reward()(
            ["B", "B", "C", ""],
            answer=["B"] * 4,
            group=["q"] * 4,
            negative_accuracies=[negatives] * 4,
            saliency=[saliency] * 4,
        )

    assert contrast([0.625, 0.0]) == pytest.approx([2.15, 2.15, 1.0, 0.0])  # 0.5 >= 0.8 * 0.625
    assert contrast([0.0, 0.65]) == pytest.approx([2.0, 2.0, 1.0, 0.0])
    assert contrast([], saliency=1.0) == pytest.approx([2.3, 2.3, 1.0, 0.0])


def test_a_group_of_one_is_a_group():
    columns = {"answer": ["B"], "group": [7], "negative_accuracies": [[1.0]], "saliency": [1.0]}
    assert contrast_reward()(["B"], **columns) == [2.3]


def test_verl_calls_a_reward_by_its_own_names():
    compute_score = for_verl(frame_thinker_reward())
    assert compute_score("set", as_text(GOOD), "B", {"num_frames": NUM_FRAMES}) == pytest.approx(1.2)


def test_columns_that_do_not_fit_are_told():
    with pytest.raises(ConfigError, match="num_frames"):
        frame_thinker_reward()([GOOD], answer=["B"])
    with pytest.raises(ConfigError, match="'question'"):
        frame_thinker_reward("code")([GOOD], answer=["B"], num_frames=[349])
    with pytest.raises(ConfigError, match="2 values for 1"):
        frame_thinker_reward()([GOOD], answer=["B", "C"], num_frames=[349])
    with pytest.raises(ConfigError, match="'paper'"):
        frame_thinker_reward("papers")
    with pytest.raises(ConfigError, match="switch_at"):
        earl_reward(switch_at=2)


PIECES = st.sampled_from(
    [
        "<think>",
        "</think>",
        "<action>",
        "</action>",
        "choose frames between 3 and 90",
        "output answer: B",
        "is: 4",
    ]
    + ["get frame number at time 0:07", "\\boxed{[3, 8]}", "\\boxed{", "B", "9" * 5000, "3 90", "}", "\ud800"]
    + ['<tool_call>{"name": "select_frames", "arguments": {"target_frames": [3, 900]}}</tool_call>']
)
TEXTS = st.lists(PIECES, max_size=9).map("".join)
CONTENTS = st.one_of(TEXTS, st.none(), st.just([{"type": "image"}, {"text": None}, 3]))
MESSAGES = st.fixed_dictionaries(
    {}, optional={"role": st.sampled_from(["assistant", "user"]), "content": CONTENTS}
)
COMPLETIONS = st.one_of(TEXTS, st.text(), st.none(), st.lists(st.one_of(MESSAGES, st.none()), max_size=4))
COLUMNS = {
    "answer": ["B"],
    "num_frames": [349],
    "question": ["0:07?"],
    "duration_seconds": [11.6],
    "targets": [[(3, 8)]],
    "key_frames": [[2]],
    "shown_seconds": [[[0.0, 1.0, 2.0, 3.0]]],
    "progress": [0.2],
    "group": [0],
    "negative_accuracies": [[0.5]],
    "saliency": [0.5],
}
REWARDS = [
    frame_thinker_reward(),
    frame_thinker_reward("code", strict=True),
    love_r1_grounding_reward(),
    love_r1_qa_reward(),
    earl_reward(),
    contrast_reward(),
]


@settings(max_examples=60, deadline=None)
@given(completion=COMPLETIONS)
def test_no_completion_makes_a_reward_raise(completion):
    for reward in REWARDS:
        (earned,) = reward([completion], **COLUMNS)
        assert isinstance(earned, float)
        assert math.isnan(earned) or -1 <= earned <= 2.3
