"""EARL's reward: tiers of right answers by the purity of the evidence, and weights that change while it trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from framegate.errors import ConfigError
from framegate.tools.agents.grammar import Answer, Select, parse_earl
from framegate.tools.agents.rewards.completion import Reward, Same, column, is_right, same_answer, turns_of

PURE_IOU = 0.5
_ENDS_CALL = "</tool_call>"


def set_iou(one: set[int], other: set[int]) -> float:
    """Members of both sets over members of either; 0 where both are empty."""
    return len(one & other) / len(one | other) if one | other else 0.0


def earl_reward(
    *,
    action_weights: tuple[float, float] = (0.5, 0.1),
    relevance_weights: tuple[float, float] = (0.1, 0.5),
    switch_at: float = 0.5,
    same: Same = same_answer,
) -> Reward:
    """Make EARL's reward.

    The reward takes the columns `answer` (the true one), `key_frames` (of each completion, positions from 0 in the set
    shown first), `shown_seconds` (times of the frames shown before each turn, the first set first; where it is missing
    every selection is read against the first set) and `progress` (0 to 1; TRL's `trainer_state` tells it too).

    Args:
        action_weights: of selecting at all, before and after the switch.
        relevance_weights: of the selection's IoU with the key frames, before and after the switch.
        switch_at: share of the training up to which the first weights hold.
        same: tells whether an answer is the true one.

    Returns:
        The reward, `fn(completions, **columns) -> list[float]`. In a completion that is a string a turn ends with
        `</tool_call>`.

    Raises:
        ConfigError: a switch outside 0 to 1; from the reward, a column that is missing or of another length, or no way
            to tell the progress.

    Source: EARL (arXiv 2510.15440): r = r_correct + alpha(t) * r_action + beta(t) * r_relevance; r_correct is 1 for a
    right answer with an IoU of 0.5 on, 0.5 for another right one, -1 for a wrong one. The weights, the switch and how
    later rounds count (their frames by the nearest one of the first set, all rounds together) were not published: ours.
    """
    if not 0 <= switch_at <= 1:
        raise ConfigError(f"switch_at is {switch_at}; it is a share of the training, 0 to 1.")

    def earl(
        completions: Sequence[Any],
        *,
        answer: Sequence[str] | None = None,
        key_frames: Sequence[Sequence[int]] | None = None,
        shown_seconds: Sequence[Sequence[Sequence[float]]] | None = None,
        progress: Sequence[float] | None = None,
        trainer_state: Any = None,
        **_columns: Any,
    ) -> list[float]:
        truths = column("answer", answer, completions)
        keys = column("key_frames", key_frames, completions)
        shown = column("shown_seconds", shown_seconds or [()] * len(completions), completions)
        done = column("progress", progress or _progress(trainer_state, len(completions)), completions)
        rewards: list[float] = []
        for completion, truth, gold, times, share in zip(completions, truths, keys, shown, done, strict=True):
            actions = [parse_earl(text) for text in _texts(completion)]
            answers = [action for action in actions if isinstance(action, Answer)]
            rounds = [action.frames for action in actions if isinstance(action, Select)]
            iou = set_iou(_in_first_set(rounds, times), set(gold))
            late = share > switch_at
            tier = (
                (1.0 if iou >= PURE_IOU else 0.5)
                if is_right(answers[-1] if answers else None, truth, same)
                else -1.0
            )
            rewards.append(tier + action_weights[late] * bool(rounds) + relevance_weights[late] * iou)
        return rewards

    return earl


def _texts(completion: object) -> list[str]:
    """What the agent wrote, turn by turn."""
    if not isinstance(completion, str):
        return [turn.text for turn in turns_of(completion)]
    *calls, rest = completion.split(_ENDS_CALL)
    return [*(call + _ENDS_CALL for call in calls), rest]


def _progress(trainer_state: Any, count: int) -> list[float]:
    steps = getattr(trainer_state, "max_steps", 0)
    if not steps:
        raise ConfigError(
            "EARL's weights change while it trains: give the column 'progress', or train with TRL."
        )
    return [trainer_state.global_step / steps] * count


def _in_first_set(rounds: Sequence[Sequence[int]], shown: Sequence[Sequence[float]]) -> set[int]:
    """Positions in the set shown first of what all rounds selected; what was not shown is left out."""
    if not shown or not shown[0]:
        return {frame for frames in rounds for frame in frames}
    first = shown[0]
    # a turn before which nothing new was shown, as after one that cannot be read, keeps the last set
    return {
        min(range(len(first)), key=lambda place: abs(first[place] - times[frame]))
        for number, frames in enumerate(rounds)
        for times in (shown[min(number, len(shown) - 1)],)
        for frame in frames
        if frame < len(times)
    }
