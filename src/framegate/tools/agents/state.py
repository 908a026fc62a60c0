"""Where an agent stands before a turn: the frames it was shown so far, and the conversation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from framegate.tokenizers.samplers import sampler
from framegate.tools.agents.episode import Turn
from framegate.tools.agents.grammar import Answer, Invalid
from framegate.types import FramePlan, VideoInfo

Message = dict[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class State:
    """What a policy reads and changes; every change is a copy.

    Args:
        video: what is known of the video.
        source: the video as a message holds it.
        question: as it was asked.
        plan: frames that count as shown now: all of them, or the current set, as the policy has it.
        shown: frames that the next prompt shows and none before; None for none.
        told: what the next prompt says beside them.
        stretches: what was looked at closely so far, in the policy's own unit.
        turns: of all attempts.
        attempt: number of the attempt, from 0.
        forced: why the next turn has to answer; None while the agent is free.
        stopped: why there is no next turn; None while there is.
        answer: the answer, once there is one.
        refused: why the last action was not done; None where it was.
    """

    video: VideoInfo
    source: Any
    question: str
    plan: FramePlan
    shown: FramePlan | None
    told: str = ""
    stretches: tuple[tuple[float, float], ...] = ()
    turns: tuple[Turn, ...] = ()
    attempt: int = 0
    forced: str | None = None
    stopped: str | None = None
    answer: str | None = None
    refused: Invalid | None = None

    @property
    def conversation(self) -> tuple[Turn, ...]:
        """Turns of this attempt."""
        return tuple(turn for turn in self.turns if turn.attempt == self.attempt)

    def sample(self, name: str, **settings: Any) -> FramePlan:
        """Choose frames of the video by a sampler's name."""
        return sampler(name)(self.video, **settings)

    def show(self, plan: FramePlan, shown: FramePlan | None, **changes: Any) -> State:
        """Go on to a turn with frames."""
        return replace(self, plan=plan, shown=shown, **{"told": "", **changes})

    def tell(self, text: str) -> State:
        """Go on to a turn with words alone."""
        return replace(self, shown=None, told=text)

    def force(self, why: str) -> State:
        """Let the next turn be the last, for the answer."""
        return replace(self, forced=why)

    def refuse(self, action: Invalid) -> State:
        """Do nothing of what was asked. Unless the answer is forced, the attempt has failed."""
        return replace(self, refused=action)

    def end(self, answer: Answer) -> State:
        """Take the answer."""
        return replace(self, answer=answer.text, stopped=self.forced or "answered")


def video_block(state: State, plan: FramePlan, **keys: Any) -> Message:
    """Show frames in a message: a block for the processor of an attached pair, with keys of its VideoKeys."""
    return {"type": "video", "video": state.source, "plan": plan, **keys}


def text_block(text: str) -> Message:
    """Say something in a message."""
    return {"type": "text", "text": text}


def said(role: str, *blocks: Message) -> Message:
    """Make a message of blocks."""
    return {"role": role, "content": list(blocks)}


def rendered(processor: Any, messages: list[Message], begin: str = "") -> Any:
    """Render messages as a model's inputs, with the beginning of its reply where that is given."""
    return processor.apply_chat_template(
        [*messages, said("assistant", text_block(begin))] if begin else messages,
        tokenize=True,
        add_generation_prompt=not begin,
        continue_final_message=bool(begin),
        return_dict=True,
        return_tensors="pt",
    )
