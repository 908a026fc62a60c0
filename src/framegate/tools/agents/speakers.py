"""Who writes an agent's turns without a model: a script, and chance among the legal turns."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from framegate.errors import ConfigError
from framegate.tools.agents.legal import Alternative, Legal, Number, Part, Words
from framegate.tools.agents.state import Message
from framegate.types import FramePlan


@dataclass(frozen=True, kw_only=True, eq=False)
class Request:
    """What the loop asks a speaker.

    Args:
        messages: the prompt, videos as blocks with plans; see `framegate.models.video_processor.message`.
        grows: the messages are those of the request before, its reply and one more, the last.
        begin: how the reply begins; the speaker writes what follows, and gives both.
        legal: legal turns.
        turn: number of the turn in its attempt, from 0.
        attempt: number of the attempt, from 0.
        is_forced: the answer is asked for.
        max_new_tokens: longest reply.
        temperature: to sample at; None for the likeliest words.
        top_p: share of the likeliest words to sample from.
    """

    messages: list[Message]
    grows: bool = False
    begin: str = ""
    legal: Legal = Legal()
    turn: int = 0
    attempt: int = 0
    is_forced: bool = False
    max_new_tokens: int = 128
    temperature: float | None = None
    top_p: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Said:
    """A speaker's reply; the counts are those of `framegate.tools.agents.Turn`."""

    text: str
    is_cut: bool = False
    video_tokens: int | None = None
    prompt_tokens: int | None = None
    new_tokens: int | None = None
    encoded_cells: int | None = None
    reused_cells: int | None = None
    notes: tuple[str, ...] = ()


# a reply as text alone is one that nobody counted
Speak = Callable[[Request], Said | str]

SCRIPT_ENDED = "the script has no further turn"


def scripted(turns: Iterable[str], *, tokens_per_frame: int | None = None) -> Speak:
    """Make a speaker that says prepared turns, one after the other.

    Args:
        turns: texts, begun as they are (a forced beginning is not put before them); without end for one that never
            comes to an answer.
        tokens_per_frame: video tokens that a frame of the common size is taken for, for budgets; None counts none.

    Returns:
        The speaker; behind the last turn it says nothing, which is an invalid turn.
    """
    left = iter(turns)

    def speak(request: Request) -> Said:
        text = next(left, None)
        tokens = None
        if tokens_per_frame is not None:
            frames = sum(
                plan.full_frames for plan in plans_of(request.messages[-1 if request.grows else 0 :])
            )
            tokens = round(tokens_per_frame * frames)
        return Said(text=text or "", video_tokens=tokens, notes=() if text is not None else (SCRIPT_ENDED,))

    return speak


def random_looks(answerer: Speak, *, looks: int, seed: int = 0) -> Speak:
    """Make a speaker that looks at random and leaves the answer to another: the baseline of constrained-random play.

    Args:
        answerer: writes the turn that answers; its request holds the legal answers alone.
        looks: turns of an attempt that look, where a look is legal.
        seed: of the draws.

    Returns:
        The speaker.
    """
    if looks < 0:
        raise ConfigError(f"looks is {looks}; it must be 0 or more.")
    draw = random.Random(seed)

    def speak(request: Request) -> Said | str:
        if request.turn < looks and request.legal.looks and not request.is_forced:
            text = drawn(draw.choice(request.legal.looks), draw)
            if text is not None:
                return text
        return answerer(replace(request, legal=Legal(answers=request.legal.answers)))

    return speak


def drawn(alternative: Alternative, draw: random.Random) -> str | None:
    """Draw a turn of an alternative, every number of its range alike and of words as few as may be; None where a range
    is empty.
    """
    text, numbers = "", list[int]()
    for part in alternative:
        part = part(tuple(numbers)) if callable(part) else part
        if isinstance(part, Number) and part.least > part.most:
            return None
        text += _spelled(part, draw, numbers)
    return text


def _spelled(part: Part, draw: random.Random, numbers: list[int]) -> str:
    if isinstance(part, Number):
        numbers.append(draw.randint(part.least, part.most))
        return str(numbers[-1]).zfill(part.width or 0)
    if isinstance(part, Words):
        return "".join(draw.choices("ABCD", k=part.least))
    assert isinstance(part, str)
    return part


def plans_of(messages: Iterable[Message]) -> list[FramePlan]:
    """Frame plans of the videos of messages, in order."""
    blocks = [block for message in messages for block in message["content"] if block["type"] == "video"]
    return [block["plan"] for block in blocks]
