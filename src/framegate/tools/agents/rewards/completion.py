"""A completion as turns, whatever a trainer hands over, and what every reward asks of its columns and answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from framegate.errors import ConfigError
from framegate.tools.agents.grammar import Action, Answer

T = TypeVar("T")
Reward = Callable[..., list[float]]
Same = Callable[[str, str], bool]
_THOUGHT, _ENDS_TURN = "<think>", "</action>"


@dataclass(frozen=True)
class Turn:
    """What the agent said, and what it was told.

    Args:
        text: the assistant's words.
        reply: the text of what it was shown after them, "" for none.
    """

    text: str
    reply: str = ""


def turns_of(completion: object) -> list[Turn]:
    """Read a completion as turns; what is no completion has none.

    Args:
        completion: a string, or chat messages: of these the assistant's are the agent's, all others what it was told.
            In a string a turn ends with `</action>`, and what stands before the next `<think>` was told.

    Returns:
        The turns in order.
    """
    if isinstance(completion, str):
        return _turns_of_text(completion)
    turns: list[Turn] = []
    for message in completion if isinstance(completion, Sequence) else ():
        role, text = _role_and_text(message)
        if role == "assistant":
            turns.append(Turn(text))
        elif turns:
            turns[-1] = Turn(turns[-1].text, turns[-1].reply + text)
    return turns


def _turns_of_text(text: str) -> list[Turn]:
    turns: list[Turn] = []
    pieces = text.split(_ENDS_TURN)
    for number, piece in enumerate(pieces):
        is_last = number == len(pieces) - 1
        told, thought, rest = piece.partition(_THOUGHT)
        if turns and (thought or is_last):
            turns[-1] = Turn(turns[-1].text, told)
            piece = thought + rest
        if piece or not turns:
            turns.append(Turn(piece if is_last else piece + _ENDS_TURN))
    return turns


def _role_and_text(message: object) -> tuple[object, str]:
    if not isinstance(message, dict):
        return None, ""
    content = message.get("content")
    if isinstance(content, str):
        return message.get("role"), content
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return message.get("role"), "".join(text for text in texts if isinstance(text, str))


def same_answer(answer: str, truth: str) -> bool:
    """Compare an answer with the true one, without case and spaces around.

    Args:
        answer: of the agent.
        truth: the true one; of an option's letter, whatever stands behind the letter is not compared ("B. red").

    Returns:
        Whether they are the same.
    """
    said, true = answer.strip().casefold(), truth.strip().casefold()
    letter = len(true) == 1 and said[:1] == true and not said[1:2].isalnum()
    return bool(true) and (said == true or letter)


def is_right(action: Action | None, truth: str, same: Same) -> bool:
    """Tell whether an action is an answer, and the true one."""
    return isinstance(action, Answer) and same(action.text, truth)


def column(name: str, values: Sequence[T] | None, completions: Sequence[Any]) -> Sequence[T]:
    """Check that a column is there, with a value for each completion.

    Args:
        name: of the column.
        values: of it.
        completions: of the batch.

    Returns:
        The values.

    Raises:
        ConfigError: no such column, or another number of values.
    """
    if values is None:
        raise ConfigError(
            f"The reward needs the column {name!r}, one value for each completion; it got none."
        )
    if len(values) != len(completions):
        raise ConfigError(
            f"The column {name!r} has {len(values)} values for {len(completions)} completions; it needs one for each."
        )
    return values


def for_verl(reward: Reward) -> Callable[..., float]:
    """Give a reward verl's form; ms-swift takes `fn(completions, **columns)` as it is.

    Args:
        reward: of this package; its column `answer` is verl's ground truth, the others are keys of `extra_info`.

    Returns:
        `compute_score(data_source, solution_str, ground_truth, extra_info)`, for `custom_reward_function`.

    Raises:
        ConfigError: from the function, a key that the reward needs and `extra_info` lacks.
    """

    def compute_score(
        data_source: str, solution_str: str, ground_truth: str, extra_info: Mapping[str, Any] | None = None
    ) -> float:
        columns = {name: [value] for name, value in (extra_info or {}).items()}
        return reward([solution_str], **columns | {"answer": [ground_truth]})[0]

    return compute_score
