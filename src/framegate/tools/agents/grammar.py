"""What a video agent's turn asks for, read to the letter of each paper; no text makes a reader raise."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

# more digits than any frame or second has, and few enough for int() on any Python
_NUMBER = r"[0-9]{1,12}(?![0-9])"
_CHOOSE = re.compile(rf"choose frames between\s+({_NUMBER})\s+and\s+({_NUMBER})")
_FRAME_AT = re.compile(r"get frame number at time\s+([0-9]{1,3}):([0-9]{2})(?![0-9:])")
_ANSWER = re.compile(r"output answer:\s*(\S.*)", re.DOTALL)
_SPAN = re.compile(rf"\[\s*(-?{_NUMBER})\s*,\s*(-?{_NUMBER})\s*\]")
_BOXED = "\\boxed{"


@dataclass(frozen=True)
class Choose:
    """FrameThinker: show frames between two of the video's frames.

    Args:
        start, end: indices of source frames, from 0.
    """

    start: int
    end: int


@dataclass(frozen=True)
class FrameAt:
    """FrameThinker: which frame stands at a time.

    Args:
        seconds: the time; the video's rate makes it a frame.
    """

    seconds: int


@dataclass(frozen=True)
class Zoom:
    """LOVE-R1: show an interval in more detail, the earlier end first, as the model wrote it: nothing is padded yet.

    Args:
        start_seconds, end_seconds: ends of the interval.
    """

    start_seconds: int
    end_seconds: int


@dataclass(frozen=True)
class Select:
    """EARL: look closer around some of the frames shown now.

    Args:
        frames: positions in the current set, from 0, rising, each once; the model writes them from 1.
    """

    frames: tuple[int, ...]


@dataclass(frozen=True)
class Answer:
    """The agent's answer, without spaces around.

    Args:
        text: never empty.
    """

    text: str


@dataclass(frozen=True)
class Invalid:
    """A turn that asks for nothing that can be done.

    Args:
        reason: what is wrong, in words.
        text: the turn as the model wrote it.
    """

    reason: str
    text: str


Action = Choose | FrameAt | Zoom | Select | Answer | Invalid


def tagged(text: str, tag: str) -> list[str]:
    """Find what stands between a tag's two ends.

    Args:
        text: of one turn, or of many.
        tag: "think", "action" or "tool_call".

    Returns:
        What each pair of tags holds, in order, as written.
    """
    # by hand: a pattern would try every opening tag against the whole rest
    opening, closing = f"<{tag}>", f"</{tag}>"
    found: list[str] = []
    start = text.find(opening)
    while start >= 0 and (end := text.find(closing, start + len(opening))) >= 0:
        found.append(text[start + len(opening) : end])
        start = text.find(opening, end + len(closing))
    return found


def parse_frame_thinker(text: str) -> Choose | FrameAt | Answer | Invalid:
    """Read a turn of FrameThinker: one thought and one action, each between its tags.

    Args:
        text: the assistant's turn.

    Returns:
        The action. Whether its frames lie in the video is not looked at: see `within_video`.

    Source: FrameThinker (arXiv 2509.24304), action space; the literals of the released examples/agent/infer.py.
    """
    thoughts, actions = tagged(text, "think"), tagged(text, "action")
    if len(thoughts) != 1 or len(actions) != 1:
        return Invalid(
            f"{len(thoughts)} thoughts and {len(actions)} actions between their tags; one of each is wanted",
            text,
        )
    action = parse_action(actions[0])
    return Invalid(action.reason, text) if isinstance(action, Invalid) else action


def parse_action(action: str) -> Choose | FrameAt | Answer | Invalid:
    """Read what stands between FrameThinker's action tags.

    Args:
        action: with or without spaces around.

    Returns:
        The action; what follows a whole one is not read, as in the released code.
    """
    written = action.strip()
    if found := _CHOOSE.match(written):
        return Choose(int(found[1]), int(found[2]))
    if found := _FRAME_AT.match(written):
        return FrameAt(60 * int(found[1]) + int(found[2]))
    if found := _ANSWER.match(written):
        return Answer(found[1].strip())
    return Invalid(
        "the action is none of 'choose frames between START and END', 'get frame number at time MM:SS' and "
        "'output answer: OPTION'",
        action,
    )


def within_video(action: Choose, *, num_frames: int, frames_per_turn: int) -> Choose | Invalid:
    """Check that frames which were asked for are there.

    Args:
        action: what was asked for.
        num_frames: of the video.
        frames_per_turn: how many one turn shows.

    Returns:
        The action, or why it cannot be done.

    Source: FrameThinker's released examples/agent/infer.py: start < end, end < N, end - start > n.
    """
    asked = f"choose frames between {action.start} and {action.end}"
    if action.end >= num_frames:
        return Invalid(f"the video ends with frame {num_frames - 1}", asked)
    if action.end - action.start <= frames_per_turn:
        return Invalid(f"more than {frames_per_turn} frames must lie from the first to the last", asked)
    return action


def last_boxed(text: str) -> str | None:
    r"""Find what the last \boxed{} holds, braces inside counted.

    Args:
        text: of a turn.

    Returns:
        It, without spaces around; up to the text's end where the brace is not closed; None without any.

    Source: LOVE-R1's released model_sample_frame.py.
    """
    _, opened, rest = text.rpartition(_BOXED)
    if not opened:
        return None
    depth = 1
    for place, letter in enumerate(rest):
        depth += (letter == "{") - (letter == "}")
        if depth == 0:
            return rest[:place].strip()
    return rest.strip()


def parse_love_r1(text: str) -> Zoom | Answer | Invalid:
    r"""Read a turn of LOVE-R1: the last \boxed{} holds an interval in whole seconds or the answer.

    Args:
        text: the assistant's turn.

    Returns:
        The interval as written but with its ends in order, or the answer.

    Source: LOVE-R1 (arXiv 2509.24786), the released model_sample_frame.py: what begins with [ is an interval.
    """
    boxed = last_boxed(text)
    if not boxed:
        return Invalid("there is nothing in a \\boxed{}", text)
    if not boxed.startswith("["):
        return Answer(boxed)
    found = _SPAN.fullmatch(boxed)
    if found is None:
        return Invalid("the interval is not [START, END] in whole seconds", text)
    start, end = sorted((int(found[1]), int(found[2])))
    return Zoom(start, end)


def parse_love_r1_plain(text: str) -> Zoom | Answer | Invalid:
    r"""Read a turn of LOVE-R1 by a model that answers in its own words: without a \boxed{} the text is the answer.

    Args:
        text: the assistant's turn.

    Returns:
        The interval or the answer; "ours" is what stands without a box.
    """
    return parse_love_r1(text) if _BOXED in text else parse_plain(text)


def parse_earl(text: str) -> Select | Answer | Invalid:
    r"""Read a turn of EARL: a call of `select_frames` between tool_call tags, or an answer in \boxed{}.

    Args:
        text: the assistant's turn; a call goes before an answer.

    Returns:
        The selected positions from 0, or the answer.

    Source: EARL (arXiv 2510.15440); its literal was not published, the form of the call is Pixel-Reasoner's.
    """
    calls = tagged(text, "tool_call")
    if not calls:
        boxed = last_boxed(text)
        return (
            Answer(boxed) if boxed else Invalid("there is neither a call nor anything in a \\boxed{}", text)
        )
    if len(calls) > 1:
        return Invalid(f"{len(calls)} calls; one is wanted", text)
    frames = _target_frames(calls[0])
    return Invalid(frames, text) if isinstance(frames, str) else Select(frames)


def _target_frames(call: str) -> tuple[int, ...] | str:
    """Positions from 0, or what is wrong with the call."""
    try:
        read = json.loads(call)
    except (ValueError, RecursionError):
        return "the call is not JSON"
    if not isinstance(read, dict) or read.get("name") != "select_frames":
        return "the call does not name select_frames"
    arguments = read.get("arguments")
    frames = arguments.get("target_frames") if isinstance(arguments, dict) else None
    if not isinstance(frames, list) or not frames:
        return "target_frames is not a list of positions"
    # a bool is an int to Python
    if any(type(frame) is not int or frame < 1 for frame in frames):
        return "target_frames holds something that is no position from 1 on"
    return tuple(sorted({frame - 1 for frame in frames}))


def parse_plain(text: str) -> Answer | Invalid:
    """Read a turn that can only answer, as SeViLA's and ChronoForge's.

    Args:
        text: the assistant's turn.

    Returns:
        The text without spaces around, as the answer.
    """
    return Answer(text.strip()) if text.strip() else Invalid("the turn is empty", text)
