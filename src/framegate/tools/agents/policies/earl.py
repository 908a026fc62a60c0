"""EARL (arXiv 2510.15440): frames are selected from the current set, and a denser set around them takes its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from framegate.settings import Count
from framegate.tokenizers.samplers import local_resample
from framegate.tools.agents.grammar import Action, Answer, Invalid, Select, parse_earl
from framegate.tools.agents.legal import Alternative, Legal, Number, Words
from framegate.tools.agents.policies._policy import BasePolicy
from framegate.tools.agents.state import Message, State, said, text_block, video_block
from framegate.types import VideoInfo

# the form of the call is Pixel-Reasoner's, for EARL's own was not published; the words are ours
_CALL = '<tool_call>{"name": "select_frames", "arguments": {"target_frames": ['
_CALL_END = "]}}</tool_call>"
_RULES = (
    "You answer a question about a video. To look closer around some of the frames shown last, write\n"
    f"{_CALL}1, 2{_CALL_END}\n"
    "with their places in the order shown, from 1. Put the answer in \\boxed{}."
)
_ANSWER_NOW = "Now put the answer in \\boxed{}."


@dataclass(frozen=True, kw_only=True)
class Policy(BasePolicy):
    """Frames are selected, and a denser set around them takes the current one's place; the prompt keeps both.

    Args:
        initial_frames: of the whole video at first (the paper).
        num_frames: N_max, of the set around selected frames (the paper).
        max_selected: most frames of one selection (Pixel-Reasoner, whose form of a call this is).
    """

    grows: ClassVar[bool] = True

    # the paper: at most two selections
    max_turns: Count = 2
    initial_frames: Count = 32
    num_frames: Count = 16
    max_selected: Count = 8

    def begin(self, video: VideoInfo, source: Any, question: str) -> State:
        """Show the first set, of the whole video."""
        plan = local_resample.sample(video, initial_frames=self.initial_frames, num_frames=self.num_frames)
        return State(video=video, source=source, question=question, plan=plan, shown=plan)

    def prompt(self, state: State) -> list[Message]:
        """Write rules, first set and question, then turns and the sets that they brought."""
        turns = state.conversation
        messages = [said("system", text_block(_RULES))]
        for place, frames in enumerate([*(turn.looked_at for turn in turns), state.shown]):
            blocks = (
                []
                if frames is None
                else [text_block(f"Frames 1 to {len(frames)}:"), video_block(state, frames)]
            )
            blocks += [text_block(state.question)] if place == 0 else []
            if place < len(turns):
                messages += [said("user", *blocks), said("assistant", text_block(turns[place].text))]
        blocks += [text_block(_ANSWER_NOW)] if state.forced else []
        return [*messages, said("user", *blocks)]

    def parse(self, text: str) -> Action:
        """Read a call or a box."""
        return parse_earl(text)

    def update(self, state: State, action: Action) -> State:
        """Put the denser set in the current one's place; what cannot be done forces the answer."""
        if isinstance(action, Answer):
            return state.end(action)
        if isinstance(action, Select):
            action = self._possible(action, len(state.plan))
        if isinstance(action, Invalid):
            # what the paper does then is not known
            return state.refuse(action).tell("").force("invalid_turn")
        assert isinstance(action, Select)
        plan = local_resample.sample(
            state.video,
            current=state.plan,
            selected=action.frames,
            num_frames=self.num_frames,
            initial_frames=self.initial_frames,
        )
        done = state.show(plan, plan)
        # a stretch with fewer frames than its share: there is nothing more to see
        return done.force("exhausted") if plan.notes else done

    def legal(self, state: State) -> Legal:
        """Allow rising places of the current set."""
        answers: tuple[Alternative, ...] = (("\\boxed{", Words(most=40, without="{}", least=1), "}"),)
        if state.forced:
            return Legal(answers=answers)
        shown = len(state.plan)
        most = min(self.max_selected, self.num_frames, shown)
        return Legal(looks=tuple(_call(count, shown) for count in range(1, most + 1)), answers=answers)

    def _possible(self, action: Select, shown: int) -> Select | Invalid:
        places = [place + 1 for place in action.frames]
        if places[-1] > shown:
            return Invalid(f"there are {shown} frames in the current set", f"target_frames {places}")
        most = min(self.max_selected, self.num_frames)
        if len(places) > most:
            return Invalid(f"at most {most} frames are selected at a time", f"target_frames {places}")
        return action


def _call(count: int, shown: int) -> Alternative:
    """A call with so many rising places, from 1."""

    def place(at: int) -> Any:
        # so many places have to follow
        most = shown - (count - 1 - at)
        return lambda numbers: Number(numbers[at - 1] + 1 if at else 1, most)

    parts: list[Any] = [_CALL]
    for at in range(count):
        parts += [place(at), ", " if at < count - 1 else _CALL_END]
    return tuple(parts)
