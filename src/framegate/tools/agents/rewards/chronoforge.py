"""A reward in the manner of ChronoForge-RL: right answers earn more where chosen frames beat other ones."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from framegate.tools.agents.grammar import Action, Invalid, parse_plain
from framegate.tools.agents.rewards.completion import Reward, Same, column, is_right, same_answer, turns_of


def contrast_reward(
    *,
    bonus: float = 0.3,
    margin: float = 0.8,
    parse: Callable[[str], Action] = parse_plain,
    same: Same = same_answer,
) -> Reward:
    """Make the reward that compares chosen frames with negatives.

    The reward takes the columns `answer` (the true one), `group` (the same value for completions of one question),
    `negative_accuracies` (of each completion, its question's shares of right answers with shuffled frames, with as many
    others, ...; they are of a pass of their own) and `saliency` (of the chosen frames, 0 to 1).

    Args:
        bonus: of a right answer, times the saliency.
        margin: share of the best negative's accuracy that the group's own has to reach.
        parse: reads a turn.
        same: tells whether an answer is the true one.

    Returns:
        The reward, `fn(completions, **columns) -> list[float]`.

    Raises:
        ConfigError: from the reward, a column that is missing or of another length.

    Source: reconstructed, ours: of ChronoForge-RL (arXiv 2509.15800) only the idea is known. The form is that of
    T-GRPO in the released Video-R1: r = acc + format + bonus * 1[right] * 1[acc(chosen) >= margin * max acc(negatives)]
    * saliency.
    """

    def contrast(
        completions: Sequence[Any],
        *,
        answer: Sequence[str] | None = None,
        group: Sequence[Hashable] | None = None,
        negative_accuracies: Sequence[Sequence[float]] | None = None,
        saliency: Sequence[float] | None = None,
        **_columns: Any,
    ) -> list[float]:
        truths = column("answer", answer, completions)
        groups = column("group", group, completions)
        negatives = column("negative_accuracies", negative_accuracies, completions)
        saliencies = column("saliency", saliency, completions)
        turns = [turns_of(completion) for completion in completions]
        actions = [parse(said[-1].text) if said else Invalid("no turn", "") for said in turns]
        right = [is_right(action, truth, same) for action, truth in zip(actions, truths, strict=True)]
        members: dict[Hashable, list[bool]] = defaultdict(list)
        for name, correct in zip(groups, right, strict=True):
            members[name].append(correct)
        shares = [sum(members[name]) / len(members[name]) for name in groups]
        wins = [
            share >= margin * max(other, default=0.0) for share, other in zip(shares, negatives, strict=True)
        ]
        return [
            float(correct) + (not isinstance(action, Invalid)) + bonus * (correct and win) * salient
            for action, correct, win, salient in zip(actions, right, wins, saliencies, strict=True)
        ]

    return contrast
