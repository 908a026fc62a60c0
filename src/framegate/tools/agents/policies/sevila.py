"""SeViLA (arXiv 2305.06988): a localizer says of each frame whether it helps, the answerer sees the best of them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from framegate.errors import ConfigError
from framegate.settings import Count
from framegate.tokenizers.samplers import uniform, yes_logit
from framegate.tools.agents.episode import Turn
from framegate.tools.agents.grammar import Select
from framegate.tools.agents.policies._policy import AnswersAtOnce
from framegate.tools.agents.state import Message, State, said, text_block, video_block
from framegate.types import VideoInfo


@dataclass(frozen=True, kw_only=True)
class Policy(AnswersAtOnce):
    """A localizer chooses frames, then one answer.

    Args:
        scorer: the localizer, `framegate.models.scorers.YesLogit(model, processor)`, or any that reads a question.
        num_candidates: n, frames that it looks at (the paper).
        num_frames: k, frames that the answerer sees (the paper).
    """

    # the answer is a word or a letter
    max_new_tokens: Count = 32
    scorer: object | None = None
    num_candidates: Count = 32
    num_frames: Count = 4

    def begin(self, video: VideoInfo, source: Any, question: str) -> State:
        """Let the localizer choose: a turn without words."""
        if self.scorer is None:
            raise ConfigError(
                "sevila has no localizer: give settings={'scorer': framegate.models.scorers.YesLogit(model, "
                "processor)}."
            )
        began, read_before = time.perf_counter(), getattr(self.scorer, "video_tokens", None)
        plan = yes_logit.sample(
            video,
            num_candidates=self.num_candidates,
            num_frames=self.num_frames,
            query=question,
            scorer=self.scorer,
        )
        candidates = uniform.sample(video, num_frames=self.num_candidates)
        ranks = np.searchsorted(candidates.indices, plan.indices).tolist()
        read_after = getattr(self.scorer, "video_tokens", None)
        read = None if read_before is None or read_after is None else read_after - read_before
        uncounted = (
            f"the localizer read {len(candidates)} frames by themselves, and did not count their tokens"
        )
        localised = Turn(
            text="",
            action=Select(tuple(ranks)),
            looked_at=candidates,
            video_tokens=read,
            seconds=time.perf_counter() - began,
            notes=plan.notes if read is not None else (*plan.notes, uncounted),
        )
        return State(video=video, source=source, question=question, plan=plan, shown=plan, turns=(localised,))

    def prompt(self, state: State) -> list[Message]:
        """Write frames behind their places, and the question."""
        blocks = []
        for place in range(len(state.plan)):
            frame = state.plan.part(np.array([place]))
            blocks += [text_block(f"Frame {place + 1}: "), video_block(state, frame)]
        return [said("user", *blocks, text_block(state.question))]
