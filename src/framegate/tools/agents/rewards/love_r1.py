"""LOVE-R1's rewards of its decoupled steps: zooming in on what is asked about, and answering."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from framegate.settings import Range, checked
from framegate.tools.agents.grammar import Action, Answer, Zoom, parse_love_r1, parse_love_r1_plain
from framegate.tools.agents.rewards.completion import Reward, Same, column, is_right, same_answer, turns_of

Span = Sequence[float]
# the released trainer's limits of an interval that is asked for
SHORTEST_SECONDS, LONGEST_SECONDS, MOST_OVERLAP = 1, 60, 0.7


def interval_iou(one: Span, other: Span) -> float:
    """Length of two intervals' common part over that of both together.

    Args:
        one: its start and end.
        other: the other one's.

    Returns:
        0 to 1; 0 where they do not overlap or have no length.
    """
    common = min(one[1], other[1]) - max(one[0], other[0])
    return common / (one[1] - one[0] + other[1] - other[0] - common) if common > 0 else 0.0


def zoom_is_legal(zoom: Zoom, *, duration_seconds: float, zoomed: Sequence[Span] = ()) -> bool:
    """Hold an interval that is asked for against LOVE-R1's format.

    Args:
        zoom: the interval.
        duration_seconds: of the video.
        zoomed: intervals that are shown already.

    Returns:
        Whether it lies in the video (a second over is forgiven), is 1 second to half the video and at most a minute
        long, and is not shown already.

    Source: LOVE-R1 (arXiv 2509.24786), the released trainer/grpo_trainer.py.
    """
    start, end = zoom.start_seconds, zoom.end_seconds
    inside = start >= 0 and end <= duration_seconds + 1
    fits = SHORTEST_SECONDS <= end - start <= min(duration_seconds / 2, LONGEST_SECONDS)
    return inside and fits and all(interval_iou((start, end), span) <= MOST_OVERLAP for span in zoomed)


@checked
def love_r1_grounding_reward(*, least_iou: Annotated[float, Range(least=0, below=1)] = 0.0) -> Reward:
    """Make LOVE-R1's reward of a single turn that has to zoom in.

    The reward takes the columns `duration_seconds`, `targets` (of each completion, intervals in seconds that answer its
    question) and, where clips were shown already, `zoomed` (their intervals). The last of an agent's turns counts.

    Returns:
        The reward: 1 for a legal interval and 1 more if it overlaps any target; 0 for anything else.

    Raises:
        ConfigError: from the reward, a column that is missing or of another length.

    Source: LOVE-R1 (arXiv 2509.24786): R = acc + format, format 0 makes acc 0, acc = 1[max_k IoU(z, target_k) > 0].
    """

    def love_r1_grounding(
        completions: Sequence[Any],
        *,
        duration_seconds: Sequence[float] | None = None,
        targets: Sequence[Sequence[Span]] | None = None,
        zoomed: Sequence[Sequence[Span]] | None = None,
        **_columns: Any,
    ) -> list[float]:
        durations = column("duration_seconds", duration_seconds, completions)
        wanted = column("targets", targets, completions)
        shown = column("zoomed", zoomed or [()] * len(completions), completions)
        rewards: list[float] = []
        for completion, duration, spans, seen in zip(completions, durations, wanted, shown, strict=True):
            turns = turns_of(completion)
            zoom = parse_love_r1(turns[-1].text) if turns else None
            if not isinstance(zoom, Zoom) or not zoom_is_legal(zoom, duration_seconds=duration, zoomed=seen):
                rewards.append(0.0)
                continue
            asked = zoom.start_seconds, zoom.end_seconds
            rewards.append(1.0 + any(interval_iou(asked, span) > least_iou for span in spans))
        return rewards

    return love_r1_grounding


def love_r1_qa_reward(*, same: Same = same_answer, answer_words: Literal["boxed", "own"] = "boxed") -> Reward:
    """Make LOVE-R1's reward of a question that is answered at once or after one zoom.

    The reward takes the columns `answer` (the true one), `duration_seconds` and, where clips were shown already,
    `zoomed` (their intervals). The markers that turns open with are not looked at, as in the released inference.

    Args:
        same: tells whether an answer is the true one.
        answer_words: the policy's setting: with "own" (ours) text without a box is an answer, behind a zoom alone.

    Returns:
        The reward: 1 for a first turn in form and 1 more if the answer, of the first turn or of the one behind a zoom,
        is right; 0 for a first turn out of form; NaN, which TRL leaves out of a group's mean and deviation, where the
        turn behind a zoom zooms again. A zoom that nothing follows was cut: it earns its form alone.

    Raises:
        ConfigError: from the reward, a column that is missing or of another length.

    Source: LOVE-R1 (arXiv 2509.24786), the released trainer/grpo_trainer.py: R = acc + format, format 0 makes acc 0;
    the second step's acc is also the first's. Ours: a first turn without an answer or interval is out of form.
    """

    parse = parse_love_r1 if answer_words == "boxed" else parse_love_r1_plain

    def read(completion: object) -> list[Action]:
        looks, answers = turns_of(completion)[:1], turns_of(completion)[1:2]
        return [*(parse_love_r1(turn.text) for turn in looks), *(parse(turn.text) for turn in answers)]

    def love_r1_qa(
        completions: Sequence[Any],
        *,
        answer: Sequence[str] | None = None,
        duration_seconds: Sequence[float] | None = None,
        zoomed: Sequence[Sequence[Span]] | None = None,
        **_columns: Any,
    ) -> list[float]:
        truths = column("answer", answer, completions)
        durations = column("duration_seconds", duration_seconds, completions)
        shown = column("zoomed", zoomed or [()] * len(completions), completions)
        rows = zip(completions, truths, durations, shown, strict=True)
        return [
            _qa(read(completion), truth, duration, seen, same) for completion, truth, duration, seen in rows
        ]

    return love_r1_qa


def _qa(steps: list[Action], truth: str, duration: float, zoomed: Sequence[Span], same: Same) -> float:
    first, second = (*steps, None, None)[:2]
    if isinstance(first, Answer):
        return 1.0 + is_right(first, truth, same)
    if not isinstance(first, Zoom) or not zoom_is_legal(first, duration_seconds=duration, zoomed=zoomed):
        return 0.0
    return math.nan if isinstance(second, Zoom) else 1.0 + is_right(second, truth, same)
