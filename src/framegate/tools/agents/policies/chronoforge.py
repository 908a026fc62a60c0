"""In the manner of ChronoForge-RL (arXiv 2509.15800): the frames at which the content turns, then one answer.

Of the paper only the names and the order of the stages are known; every number here is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from framegate.settings import Count, Positive
from framegate.tokenizers.samplers import apex
from framegate.tools.agents.policies._policy import AnswersAtOnce
from framegate.tools.agents.state import Message, State, said, text_block, video_block
from framegate.types import VideoInfo


@dataclass(frozen=True, kw_only=True)
class Policy(AnswersAtOnce):
    """The frames at which the content turns, then one answer.

    Args:
        num_frames: of the plan (ours).
        fps: of the candidates (ours).
        pick: "apex" the frame of a turn itself, "after" the calmest one before the next (ours).
    """

    num_frames: Count = 32
    fps: Positive = 2.0
    pick: apex.Pick = "apex"

    def begin(self, video: VideoInfo, source: Any, question: str) -> State:
        """Choose the frames."""
        plan = apex.sample(video, num_frames=self.num_frames, fps=self.fps, pick=self.pick)
        return State(video=video, source=source, question=question, plan=plan, shown=plan)

    def prompt(self, state: State) -> list[Message]:
        """Write frames and question."""
        return [said("user", video_block(state, state.plan), text_block(state.question))]
