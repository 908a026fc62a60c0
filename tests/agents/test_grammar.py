"""What each paper's agent may write, and what is not it."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framegate.tools.agents.grammar import (
    Answer,
    Choose,
    FrameAt,
    Invalid,
    Select,
    Zoom,
    last_boxed,
    parse_earl,
    parse_frame_thinker,
    parse_love_r1,
    parse_plain,
    within_video,
)

PARSERS = (parse_frame_thinker, parse_love_r1, parse_earl, parse_plain)


def thought(action, think="Look closer."):
    return f"<think>{think}</think>\n<action>{action}</action>"


def call(frames, name="select_frames"):
    return f"<tool_call>{json.dumps({'name': name, 'arguments': {'target_frames': frames}})}</tool_call>"


@pytest.mark.parametrize(
    ("action", "read"),
    [
        ("choose frames between 100 and 200", Choose(100, 200)),
        (" choose frames between 100 and 200\n", Choose(100, 200)),
        ("get frame number at time 00:07", FrameAt(7)),
        ("get frame number at time 62:30", FrameAt(3750)),  # an hour is folded into minutes
        ("output answer: B", Answer("B")),
        ("output answer: the red car ", Answer("the red car")),
    ],
)
def test_frame_thinker_reads_its_three_actions(action, read):
    assert parse_frame_thinker(thought(action)) == read


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<action>output answer: B</action>",
        "<think>so</think>",
        thought("output answer: A") + thought("output answer: B"),
        "<think>so</think><action>output answer: B",
        thought("output answer: "),
        thought("Output answer: B"),
        thought("choose frames between a and b"),
        thought("choose frames between 1.5 and 20"),
        thought("choose frames between -3 and 20"),
        thought(f"choose frames between 1 and {'9' * 5000}"),
        thought("get frame number at time 1:02:30"),
        thought("get frame number at time 7"),
        thought("read subtitles"),
    ],
)
def test_frame_thinker_refuses_the_rest(text):
    read = parse_frame_thinker(text)
    assert isinstance(read, Invalid)
    assert read.text == text
    assert read.reason


@pytest.mark.parametrize(
    ("start", "end", "legal"),
    [
        (100, 200, True),
        (0, 348, True),
        (0, 349, False),
        (100, 108, False),
        (100, 109, True),
        (9, 9, False),
        (20, 9, False),
    ],
)
def test_frames_lie_in_the_video_and_further_apart_than_a_turn_shows(start, end, legal):
    checked = within_video(Choose(start, end), num_frames=349, frames_per_turn=8)
    assert isinstance(checked, Choose if legal else Invalid)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (r"I need to zoom in on the video." + "\n\n" + r"\boxed{[3,8]}", Zoom(3, 8)),
        (r"\boxed{[8, 3]}", Zoom(3, 8)),
        (r"\boxed{[-2, 3]}", Zoom(-2, 3)),
        (r"\boxed{B}", Answer("B")),
        (r"first \boxed{[1,2]}, then \boxed{C}", Answer("C")),
        (r"\boxed{\frac{1}{2}}", Answer(r"\frac{1}{2}")),
        (r"cut \boxed{[3, 8]", Zoom(3, 8)),  # by the token limit, behind the interval
    ],
)
def test_love_r1_reads_the_last_box(text, read):
    assert parse_love_r1(text) == read


@pytest.mark.parametrize(
    "text", ["", "B", r"\boxed{}", r"\boxed{[3.5, 8]}", r"\boxed{[3]}", r"\boxed{[1, 2, 3]}", r"\boxed{[3, 8"]
)
def test_love_r1_refuses_the_rest(text):
    assert isinstance(parse_love_r1(text), Invalid)


def test_braces_inside_a_box_are_counted():
    assert last_boxed(r"\boxed{a{b}c} and more}") == "a{b}c"
    assert last_boxed("none") is None


def test_earl_counts_from_one_outside_and_from_zero_inside():
    assert parse_earl("The hand moves. " + call([26, 11, 12, 11])) == Select((10, 11, 25))
    assert parse_earl(r"so \boxed{B}") == Answer("B")
    assert parse_earl(call([1]) + r" or \boxed{B}") == Select((0,))


@pytest.mark.parametrize(
    "text",
    [
        "",
        r"\boxed{}",
        "<tool_call>{</tool_call>",
        "<tool_call>" + "[" * 100_000 + "</tool_call>",
        "<tool_call>" + "9" * 5000 + "</tool_call>",
        "<tool_call>[1]</tool_call>",
        '<tool_call>{"name": "select_frames"}</tool_call>',
        '<tool_call>{"name": "select_frames", "arguments": [1]}</tool_call>',
        call([]),
        call([0]),
        call([True]),
        call([1.0]),
        call(["1"]),
        call([1], name="crop"),
        call([1]) + call([2]),
    ],
)
def test_earl_refuses_the_rest(text):
    assert isinstance(parse_earl(text), Invalid)


def test_a_plain_turn_is_the_answer():
    assert parse_plain(" B\n") == Answer("B")
    assert isinstance(parse_plain(" \n"), Invalid)


PIECES = st.sampled_from(
    [
        "<think>",
        "</think>",
        "<action>",
        "</action>",
        "choose frames between ",
        " and ",
        "output answer: ",
        "\\boxed{",
    ]
    + [
        "}",
        "{",
        "[",
        "]",
        ",",
        "get frame number at time ",
        "07:30",
        "<tool_call>",
        "</tool_call>",
        "١٢",
        "9" * 4400,
    ]
    + ['{"name": "select_frames", "arguments": {"target_frames": [', "]}}", "1", "-", "\x00", "\ud800"]
)


@pytest.mark.parametrize("parse", PARSERS)
@settings(max_examples=40, deadline=None)
@given(text=st.one_of(st.text(), st.lists(PIECES, max_size=14).map("".join)))
def test_no_text_makes_a_reader_raise(parse, text):
    read = parse(text)
    if isinstance(read, Answer):
        assert read.text.strip()
