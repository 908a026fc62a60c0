"""FrameThinker's verification of a trajectory: what it does must follow from what it thought and saw."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from framegate.tools.agents.grammar import Answer, Choose, FrameAt, parse_action, tagged
from framegate.tools.agents.rewards.completion import turns_of

Rule = Literal["format", "redundancy", "validity", "fidelity", "flow", "action"]
# the released reward holds this distance even where a turn shows twelve frames
FRAMES_PER_TURN = 8
_STANDALONE = re.compile(r"(?<!:)\b([0-9]{1,12})\b(?!:)")
FRAME_REPLY = re.compile(r"is:\s*([0-9]{1,12})(?![0-9])")


@dataclass(frozen=True)
class Broken:
    """The first rule that a trajectory breaks.

    Args:
        rule: its name.
        reason: what broke it, in words.
    """

    rule: Rule
    reason: str


@dataclass(frozen=True)
class Step:
    """One action of a trajectory.

    Args:
        action: as written between the tags.
        thought: before it.
        reply: after it.
    """

    action: str
    thought: str
    reply: str


def steps_of(completion: object) -> list[Step] | Broken:
    """Read a completion's thoughts and actions.

    Args:
        completion: as `turns_of` takes it.

    Returns:
        Its steps, or how their tags break the form. The reply to an action is what follows its turn.
    """
    thoughts: list[str] = []
    actions: list[str] = []
    replies: list[str] = []
    for turn in turns_of(completion):
        thoughts += tagged(turn.text, "think")
        found = tagged(turn.text, "action")
        actions += found
        replies += [*[""] * (len(found) - 1), turn.reply] if found else []
    if not actions or len(thoughts) != len(actions):
        return Broken("format", f"{len(thoughts)} thoughts and {len(actions)} actions")
    return [Step(*step) for step in zip(actions, thoughts, replies, strict=True)]


def ccv_validate(
    completion: object, *, num_frames: int, frames_per_turn: int = FRAMES_PER_TURN, strict: bool = False
) -> Broken | None:
    """Verify a FrameThinker trajectory.

    Args:
        completion: the whole of it, a string or chat messages.
        num_frames: of the video.
        frames_per_turn: how far apart chosen ends must lie at least, less one.
        strict: the rules of inference instead of the reward's: a frame number must be used at once, but thoughts need
            not name the frames, and neither the whole video nor the frames shown count as chosen already.

    Returns:
        The first rule it breaks, None if it breaks none.

    Source: FrameThinker (arXiv 2509.24304), CCV; as coded in the released think_with_video_reward.py (v11) and, strict,
    in examples/agent/infer.py. Ours: 0:07 and 00:07 are the same time, and a chat's own text is no reply.
    """
    steps = steps_of(completion)
    if isinstance(steps, Broken):
        return steps
    if not isinstance(parse_action(steps[-1].action), Answer):
        return Broken("format", "the last action is no answer")
    chosen: set[tuple[int, int]] = set() if strict else {(0, num_frames - 1)}
    asked: set[int] = set()
    told: int | None = None
    for step in steps[:-1]:
        action = parse_action(step.action)
        if isinstance(action, Choose):
            broken = _choose(action, step.thought, chosen, told, frames_per_turn, strict)
            told = None
        elif isinstance(action, FrameAt):
            broken = _frame_at(action, asked, told if strict else None)
            reply = FRAME_REPLY.search(step.reply)
            told = int(reply[1]) if reply else None
            if reply is None:
                broken = broken or Broken("flow", "the question for a frame number has no reply")
        else:
            return Broken("action", f"{step.action.strip()[:60]!r} before the last turn")
        if broken:
            return broken
    return Broken("flow", f"frame {told} was asked for and not looked at") if told is not None else None


def _choose(
    action: Choose,
    thought: str,
    chosen: set[tuple[int, int]],
    told: int | None,
    frames_per_turn: int,
    strict: bool,
) -> Broken | None:
    """Hold one choice of frames against the rules, and note it."""
    start, end = pair = action.start, action.end
    if told is not None and not start <= told <= end:
        return Broken("flow", f"frame {told} was asked for, {start} to {end} are chosen")
    if pair in chosen:
        return Broken("redundancy", f"{start} to {end} were seen already")
    chosen.add(pair)
    if start >= end - frames_per_turn:
        return Broken("validity", f"{start} to {end} are no more than {frames_per_turn} frames apart")
    if strict:
        return None
    chosen.add((start + 1, end - 1))
    thought_of = tuple(int(number) for number in _STANDALONE.findall(thought)[-2:])
    if thought_of != pair:
        return Broken("fidelity", f"the thought names {thought_of} last, {start} to {end} are chosen")
    return None


def _frame_at(action: FrameAt, asked: set[int], told: int | None) -> Broken | None:
    if told is not None:
        return Broken("flow", f"frame {told} was asked for and not looked at")
    if action.seconds in asked:
        return Broken("redundancy", f"the frame at {action.seconds} s was asked for already")
    asked.add(action.seconds)
    return None
