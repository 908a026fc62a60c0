"""LOVE-R1 (arXiv 2509.24786): the whole video small, and intervals of it large, the prompt built anew for each turn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from framegate.settings import Count, Positive, Range, Share
from framegate.tokenizers.samplers import slow_fast
from framegate.tools.agents.grammar import Action, Answer, Invalid, Zoom, parse_love_r1, parse_love_r1_plain
from framegate.tools.agents.legal import Legal, Number, Words
from framegate.tools.agents.policies._policy import BasePolicy
from framegate.tools.agents.rewards.love_r1 import interval_iou
from framegate.tools.agents.state import Message, State, said, text_block, video_block
from framegate.types import TimeCode, VideoInfo

# the paper's two beginnings of a reply, to the letter
ZOOM_PREFIX = "I need to zoom in on the video.\n\n"
ANSWER_PREFIX = "I get the answer.\n\n"
# the words of both are ours, the \boxed{} is the paper's
_RULES = "Red numbers in the video are seconds."
_ASK = (
    "If this is enough, put the answer in \\boxed{}; otherwise put there the interval to look at closely, "
    "\\boxed{[START, END]} in seconds."
)
_IN_BOX = Words(most=40, without="{}", least=1)
# pixels of a merged token in Qwen2.5-VL, by which the paper counts
_TOKEN_PIXELS = 28 * 28
Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Policy(BasePolicy):
    """The whole video small, and intervals of it large.

    Args:
        fps: frames per second of either stream (src/r1-v/src/open_r1/sft_video.py).
        fast_frames: most frames of the whole video (same file).
        slow_frames: most frames of an interval (evaluation; 16 for LongVideoBench and in training by rewards).
        fast_tokens: most tokens of a frame of the whole video, of 28 x 28 px (sft_video.py).
        slow_tokens: most tokens of a frame of an interval (same file).
        short_seconds: below this both are doubled (evaluation; 120 in fine-tuning).
        pad_seconds: added on both sides of an interval (model_sample_frame.py, as what follows).
        least_seconds: of a padded interval; the answer is forced where it is shorter.
        widen_seconds: a padded interval is widened to this, or to an eighth of the video if that is less.
        most_overlap: intersection over union with an interval seen before, above which the answer is forced.
        answer_words: "boxed" as in the paper. "own" (ours) is for a model that was never taught the box: every turn
            asks the question alone, and text without a box is the answer. When to look it has to have learnt, or its
            turns are held to legal ones.
        time_code: "burned" draws seconds into the frames; None draws none, for models that read none.
    """

    # model_sample_frame.py: two free turns, then the answer; completions of 512 tokens (grpo.py)
    max_turns: Count = 2
    max_new_tokens: Count = 512
    fps: Positive = 2.0
    fast_frames: Count = 768
    slow_frames: Count = 32
    fast_tokens: Count = 32
    slow_tokens: Count = 256
    short_seconds: Positive = 60.0
    pad_seconds: Annotated[int, Range(least=0)] = 5
    least_seconds: Count = 3
    widen_seconds: Positive = 30.0
    most_overlap: Share = 0.3
    time_code: TimeCode | None = "burned"
    answer_words: Literal["boxed", "own"] = "boxed"

    def begin(self, video: VideoInfo, source: Any, question: str) -> State:
        """Show the whole video small."""
        plan = self._plan(video, ())
        return State(video=video, source=source, question=question, plan=plan, shown=plan)

    def prompt(self, state: State) -> list[Message]:
        """Write the whole video, the intervals in order, and the question."""
        pixels = _TOKEN_PIXELS * (2 if state.video.duration_seconds < self.short_seconds else 1)
        end = int(state.video.duration_seconds)
        texts = [f"Full video [0, {end}]:"]
        texts += [f"Subset zoom-in video clip [{start:g}, {stop:g}]:" for start, stop in state.stretches]
        blocks = []
        for group, text in enumerate(texts):
            clip = replace(state.plan.part(state.plan.group == group), time_code=self.time_code)
            tokens = self.slow_tokens if group else self.fast_tokens
            blocks += [text_block(text), video_block(state, clip, max_pixels=tokens * pixels)]
        asks_alone = self.answer_words == "own"
        question = text_block(state.question if asks_alone else f"{state.question}\n{_ASK}")
        rules = [said("system", text_block(_RULES))] if self.time_code == "burned" else []
        return [*rules, said("user", *blocks, question)]

    def begins(self, state: State) -> str:
        """Force the answer by its beginning."""
        return ANSWER_PREFIX if state.forced and self.answer_words == "boxed" else ""

    def parse(self, text: str) -> Action:
        """Read the last box."""
        return parse_love_r1(text) if self.answer_words == "boxed" else parse_love_r1_plain(text)

    def update(self, state: State, action: Action) -> State:
        """Pad and add an interval; one that is too short or was seen forces the answer."""
        if isinstance(action, Answer):
            return state.end(action)
        if isinstance(action, Invalid):
            # what the paper does then is not known
            return self._last_look(state.refuse(action), "invalid_turn")
        assert isinstance(action, Zoom)
        total = state.video.duration_seconds
        wanted = self.padded(action, total)
        if wanted is None:
            reason = (
                f"less than {self.least_seconds} of the video's {total:g} seconds are left, padding counted"
            )
            refused = Invalid(reason, f"[{action.start_seconds}, {action.end_seconds}]")
            return self._last_look(state.refuse(refused), "too_short")
        if any(interval_iou(wanted, seen) > self.most_overlap for seen in state.stretches):
            return self._last_look(state, "seen_before")
        return self._look(state, (*state.stretches, wanted))

    def legal(self, state: State) -> Legal:
        """Allow an interval inside the video, of at most a minute and half the video, as the format reward has it."""
        if state.forced and self.answer_words == "own":
            return Legal(answers=((_IN_BOX,),))
        if state.forced:
            return Legal(answers=((f"{ANSWER_PREFIX}\\boxed{{", _IN_BOX, "}"),))
        end = int(state.video.duration_seconds)
        longest = int(max(min(end / 2, 60), 1))
        spare = self.least_seconds - self.pad_seconds

        def ends(numbers: tuple[int, ...]) -> Number:
            # near the video's ends padding adds less
            least = max(numbers[0] + 1, max(numbers[0] - self.pad_seconds, 0) + spare)
            return Number(least, min(max(numbers[0] + longest, least), end))

        begins = Number(0, min(end - 1, end - spare))
        zoom = (f"{ZOOM_PREFIX}\\boxed{{[", begins, ", ", ends, "]}")
        answer = (f"{ANSWER_PREFIX}\\boxed{{", Words(most=40, without="{}[", least=1), "}")
        return Legal(looks=(zoom,) if end >= max(self.least_seconds, 1) else (), answers=(answer,))

    def padded(self, action: Zoom, total_seconds: float) -> Interval | None:
        """Pad an interval, widen it about its middle and cut it to the video; None where it stays too short."""
        start = max(action.start_seconds - self.pad_seconds, 0)
        end = min(action.end_seconds + self.pad_seconds, int(total_seconds))
        if end - start < self.least_seconds:
            return None
        least = min(self.widen_seconds, total_seconds / 8)
        if end - start >= least:
            return float(start), float(end)
        middle = (start + end) / 2
        return max(middle - least / 2, 0.0), min(middle + least / 2, total_seconds)

    def _look(self, state: State, stretches: tuple[Interval, ...]) -> State:
        stretches = tuple(sorted(stretches))
        plan = self._plan(state.video, stretches)
        return state.show(plan, plan, stretches=stretches)

    def _last_look(self, state: State, why: str) -> State:
        """Force the answer; who zoomed nowhere is shown the whole video large, as in the paper."""
        if not state.stretches:
            state = self._look(state, ((0.0, state.video.duration_seconds),))
        return state.force(why)

    def _plan(self, video: VideoInfo, stretches: tuple[Interval, ...]) -> Any:
        return slow_fast.sample(
            video,
            fps=self.fps,
            fast_frames=self.fast_frames,
            # sizes are those of the message: a small video is not made smaller
            fast_scale=1.0,
            slow_frames=self.slow_frames,
            intervals=stretches,
        )
