"""What every policy has: the settings of the loop, and the four functions that a file fills in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from framegate.settings import Count, Positive, Share, check
from framegate.tools.agents.grammar import Action, Answer, Invalid, parse_plain
from framegate.tools.agents.legal import Legal, Words
from framegate.tools.agents.state import Message, State
from framegate.types import VideoInfo


@dataclass(frozen=True, kw_only=True)
class BasePolicy(ABC):
    """How an agent looks; the fields are its settings, with the papers' numbers as their defaults.

    Args:
        attempts: at a question, the last of several with an answer forced at once.
        max_turns: of an attempt, before an answer is forced, or the attempt has failed where there is another.
        max_new_tokens: of a turn.
        temperature: to sample at; None for the likeliest words.
        top_p: share of the likeliest words to sample from.
    """

    # each prompt is the one before with the reply and one message more
    grows: ClassVar[bool] = False

    attempts: Count = 1
    max_turns: Count = 1
    max_new_tokens: Count = 512
    temperature: Positive | None = None
    top_p: Share = 1.0

    def __post_init__(self) -> None:
        check(self, self.name)

    @property
    def name(self) -> str:
        """The file's name."""
        return type(self).__module__.rpartition(".")[2]

    @abstractmethod
    def begin(self, video: VideoInfo, source: Any, question: str) -> State:
        """Choose the first frames."""

    @abstractmethod
    def prompt(self, state: State) -> list[Message]:
        """Write the messages of the next turn."""

    @abstractmethod
    def parse(self, text: str) -> Action:
        """Read a turn; no text raises."""

    @abstractmethod
    def update(self, state: State, action: Action) -> State:
        """Do what a turn asks for, or refuse it; an Invalid comes here as well."""

    @abstractmethod
    def legal(self, state: State) -> Legal:
        """Say which turns are legal next."""

    def begins(self, state: State) -> str:
        """Say how the next turn has to begin, "" for any way."""
        return ""


class AnswersAtOnce(BasePolicy):
    """What policies have whose first turn is the answer: all is done by the choice of frames."""

    def parse(self, text: str) -> Action:
        """Take the text for the answer."""
        return parse_plain(text)

    def update(self, state: State, action: Action) -> State:
        """End with the answer."""
        if isinstance(action, Answer):
            return state.end(action)
        assert isinstance(action, Invalid)
        return state.refuse(action)

    def legal(self, state: State) -> Legal:
        """Allow any answer."""
        return Legal(answers=((Words(most=80, without="", least=1),),))
