"""FrameThinker (arXiv 2509.24304): frames by number, and as many again of every stretch that is asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from framegate.settings import Count, Positive, Share
from framegate.tokenizers.clip.window import window_frames
from framegate.tokenizers.samplers import spotlight
from framegate.tools.agents.grammar import (
    Action,
    Answer,
    Choose,
    FrameAt,
    Invalid,
    parse_frame_thinker,
    within_video,
)
from framegate.tools.agents.legal import Legal, Number, Words
from framegate.tools.agents.policies._policy import BasePolicy
from framegate.tools.agents.state import Message, State, said, text_block, video_block
from framegate.types import FramePlan, VideoInfo

# the actions are the paper's to the letter, the words around them ours
_RULES = (
    "You answer a question about a video of {total} frames. You see {count} of them, each behind its number. In every "
    "turn write <think>your reasons</think> and then one action:\n"
    "<action>choose frames between START and END</action> shows {count} frames between two numbers that are more than "
    "{count} apart.\n"
    "<action>get frame number at time MM:SS</action> tells the number of the frame at a time.\n"
    "<action>output answer: OPTION</action> ends with the answer."
)
_ANSWER_ONLY = (
    "You answer a question about a video from some of its frames, each behind its number. Write <think>your "
    "reasons</think> and then <action>output answer: OPTION</action>."
)
_ANSWER_NOW = "Now output the answer."
_THOUGHT = Words(most=60)
# the last two numbers of the thought are those of the action, so that the turn is consistent by the paper's check
_THOUGHT_OF_NUMBERS = Words(most=60, without="<0123456789")


@dataclass(frozen=True, kw_only=True)
class Policy(BasePolicy):
    """Frames by number, and as many again of every stretch that is asked for.

    Args:
        num_frames: n, of each view; None for the paper's 8, or 12 above 300 seconds (examples/agent/infer.py).
        short_size_px: width and height that frames are brought down into, up to 300 seconds (same file).
        long_size_px: the same above 300 seconds (same file).
    """

    grows: ClassVar[bool] = True

    # examples/agent/infer.py of the released code: 3 attempts, the third with the answer-only prompt; 5 turns; 2048
    # new tokens at temperature 0.6, top_p 0.9
    attempts: Count = 3
    max_turns: Count = 5
    max_new_tokens: Count = 2048
    temperature: Positive | None = 0.6
    top_p: Share = 0.9
    num_frames: Count | None = None
    short_size_px: tuple[Count, Count] = (640, 360)
    long_size_px: tuple[Count, Count] = (448, 252)

    def begin(self, video: VideoInfo, source: Any, question: str) -> State:
        """Show n frames of the whole video."""
        plan = _views(video, self._count(video), ())
        return State(video=video, source=source, question=question, plan=plan, shown=plan)

    def prompt(self, state: State) -> list[Message]:
        """Write rules, question and first frames, then turns and what they brought."""
        turns, count = state.conversation, self._count(state.video)
        alone = state.forced is not None and not turns
        rules = _ANSWER_ONLY if alone else _RULES.format(total=state.video.num_frames, count=count)
        messages = [said("system", text_block(rules))]
        news = [*((turn.looked_at, turn.told) for turn in turns), (state.shown, state.told)]
        for place, (frames, told) in enumerate(news):
            blocks = [text_block(state.question)] if place == 0 else []
            blocks += [text_block(told)] if told else []
            blocks += [] if frames is None else [video_block(state, frames, **self._size(state.video))]
            if place < len(turns):
                messages += [said("user", *blocks), said("assistant", text_block(turns[place].text))]
        blocks += [text_block(_ANSWER_NOW)] if state.forced and turns else []
        return [*messages, said("user", *blocks)]

    def parse(self, text: str) -> Action:
        """Read one thought and one action."""
        return parse_frame_thinker(text)

    def update(self, state: State, action: Action) -> State:
        """Append frames or a number; what cannot be done ends the attempt."""
        count = self._count(state.video)
        if isinstance(action, Choose):
            action = within_video(action, num_frames=state.video.num_frames, frames_per_turn=count)
        if isinstance(action, Answer):
            return state.end(action)
        if isinstance(action, Choose):
            stretches = (*state.stretches, (action.start, action.end))
            plan = _views(state.video, count, stretches)
            return state.show(plan, plan.part(plan.group == len(stretches)), stretches=stretches)
        if isinstance(action, FrameAt) and action.seconds < state.video.duration_seconds:
            number = window_frames(state.video, (action.seconds, None))[0]
            return state.tell(f"Frame number at time {_clock(action.seconds)} is: {number}.")
        if isinstance(action, FrameAt):
            end = _clock(math.floor(state.video.duration_seconds))
            action = Invalid(f"the video ends at {end}", f"get frame number at time {_clock(action.seconds)}")
        assert isinstance(action, Invalid)
        return state.refuse(action)

    def legal(self, state: State) -> Legal:
        """Allow what is in the video, with thoughts that are consistent with the action."""
        total, count = state.video.num_frames, self._count(state.video)
        answer = (
            "<think>",
            _THOUGHT,
            "</think>\n<action>output answer: ",
            Words(most=40, least=1),
            "</action>",
        )
        if state.forced:
            return Legal(answers=(answer,))
        last = max(math.ceil(state.video.duration_seconds) - 1, 0)
        time = (
            *("<think>", _THOUGHT, "</think>\n<action>get frame number at time "),
            *(Number(0, last // 60, max(len(str(last // 60)), 2)), ":"),
            lambda numbers: Number(0, min(last - 60 * numbers[0], 59), 2),
            "</action>",
        )
        choose = (
            *("<think>", _THOUGHT_OF_NUMBERS, Number(0, total - count - 2), " to "),
            lambda numbers: Number(numbers[0] + count + 1, total - 1),
            lambda numbers: f"</think>\n<action>choose frames between {numbers[0]} and {numbers[1]}</action>",
        )
        return Legal(looks=(choose, time) if total > count + 1 else (time,), answers=(answer,))

    def _count(self, video: VideoInfo) -> int:
        return self.num_frames or (
            spotlight.SHORT_FRAMES
            if video.duration_seconds <= spotlight.SHORT_SECONDS
            else spotlight.LONG_FRAMES
        )

    def _size(self, video: VideoInfo) -> dict[str, int]:
        """Keys of a message that bring frames down into the paper's box; none where they lie in it."""
        box = self.short_size_px if video.duration_seconds <= spotlight.SHORT_SECONDS else self.long_size_px
        scale = min(box[0] / video.width_px, box[1] / video.height_px)
        if scale >= 1:
            return {}
        return {
            "resized_height": max(round(video.height_px * scale), 1),
            "resized_width": max(round(video.width_px * scale), 1),
        }


def _views(video: VideoInfo, count: int, stretches: tuple[tuple[float, float], ...]) -> FramePlan:
    between = tuple((int(start), int(end)) for start, end in stretches)
    return spotlight.sample(video, num_frames=count, between=between)


def _clock(seconds: int) -> str:
    """Spell a time as MM:SS, hours as minutes."""
    return f"{seconds // 60:02d}:{seconds % 60:02d}"
