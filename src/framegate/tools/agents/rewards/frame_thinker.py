"""FrameThinker's reward: right answers, a little more for the looks that led there, nothing for what CCV refuses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

from framegate.errors import ConfigError, nearest
from framegate.tools.agents.grammar import Choose, FrameAt, parse_action
from framegate.tools.agents.rewards.ccv import FRAME_REPLY, FRAMES_PER_TURN, Broken, ccv_validate, steps_of
from framegate.tools.agents.rewards.completion import Reward, Same, column, is_right, same_answer

Preset = Literal["paper", "code"]
# what a right answer earns with a frame number, with chosen frames, and whether the question must hold a clock time
PRESETS: dict[str, tuple[float, float, bool]] = {"paper": (0.2, 0.0, False), "code": (0.5, 0.02, True)}
_CLOCK = re.compile(r"[0-9]:[0-9]")


def frame_thinker_reward(
    preset: Preset = "paper",
    *,
    frame_number_bonus: float | None = None,
    choose_bonus: float | None = None,
    question_needs_clock: bool | None = None,
    frames_per_turn: int = FRAMES_PER_TURN,
    strict: bool = False,
    same: Same = same_answer,
) -> Reward:
    """Make FrameThinker's reward.

    The reward takes the columns `answer` (the true one), `num_frames` (of the video) and, where the question must hold
    a clock time, `question`.

    Args:
        preset: "paper" (0.2 for a frame number, 0 for chosen frames, any question) or "code", as released (0.5, 0.02,
            questions with a clock time alone).
        frame_number_bonus: of a right answer behind a question for a frame number other than 0; None as the preset.
        choose_bonus: of a right answer behind chosen frames; None as the preset.
        question_needs_clock: pay the first only where the question holds a time as 1:30; None as the preset.
        frames_per_turn: of the validity rule.
        strict: verify by the rules of inference.
        same: tells whether an answer is the true one.

    Returns:
        The reward, `fn(completions, **columns) -> list[float]`.

    Raises:
        ConfigError: an unknown preset; from the reward, a column that is missing or of another length.

    Source: FrameThinker (arXiv 2509.24304): R = V_CCV * (R_acc + 1[R_acc = 1] * (l_gfn * 1[gfn in tau] + l_cf *
    1[cf in tau])). The paper's weights come from a note about it, the others from think_with_video_reward.py (v11).
    """
    if preset not in PRESETS:
        raise ConfigError(f"Unknown preset {preset!r}. {nearest(preset, PRESETS)}")
    usual = PRESETS[preset]
    at_frame = usual[0] if frame_number_bonus is None else frame_number_bonus
    at_choice = usual[1] if choose_bonus is None else choose_bonus
    needs_clock = usual[2] if question_needs_clock is None else question_needs_clock

    def frame_thinker(
        completions: Sequence[Any],
        *,
        answer: Sequence[str] | None = None,
        num_frames: Sequence[int] | None = None,
        question: Sequence[str] | None = None,
        **_columns: Any,
    ) -> list[float]:
        truths = column("answer", answer, completions)
        lengths = column("num_frames", num_frames, completions)
        asked = column("question", question, completions) if needs_clock else [""] * len(completions)
        rewards: list[float] = []
        for completion, truth, length, text in zip(completions, truths, lengths, asked, strict=True):
            broken = ccv_validate(
                completion, num_frames=length, frames_per_turn=frames_per_turn, strict=strict
            )
            steps = steps_of(completion)
            if (
                broken
                or isinstance(steps, Broken)
                or not is_right(parse_action(steps[-1].action), truth, same)
            ):
                rewards.append(0.0)
                continue
            actions = [(parse_action(step.action), step.reply) for step in steps]
            clock = not needs_clock or _CLOCK.search(text) is not None
            found = any(isinstance(action, FrameAt) and _frame_of(reply) > 0 for action, reply in actions)
            chose = any(isinstance(action, Choose) for action, _ in actions)
            rewards.append(1.0 + at_frame * (found and clock) + at_choice * chose)
        return rewards

    return frame_thinker


def _frame_of(reply: str) -> int:
    found = FRAME_REPLY.search(reply)
    return int(found[1]) if found else 0
