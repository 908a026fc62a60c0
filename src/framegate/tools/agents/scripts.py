"""Scripted trajectories: turns that look where a question's time is known to lie, and what a model learns from them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from framegate.errors import ConfigError, nearest
from framegate.tokenizers.clip.window import window_frames
from framegate.tools.agents.grammar import Invalid
from framegate.tools.agents.loop import run_agent
from framegate.tools.agents.policies import love_r1, policy_named
from framegate.tools.agents.policies._policy import BasePolicy
from framegate.tools.agents.policies.love_r1 import ANSWER_PREFIX, ZOOM_PREFIX
from framegate.tools.agents.speakers import Request, scripted
from framegate.tools.agents.state import said, text_block
from framegate.types import VideoInfo

# frames of FrameThinker's stretches begin and end with round numbers, which are easy to write
_ROUND_FRAMES = 100
# of LOVE-R1's interval as written: three with one of padding
_LEAST_SECONDS = 2


def scripted_turns(
    policy: str | BasePolicy,
    video: VideoInfo,
    *,
    time_seconds: float,
    answer: str,
    spread_seconds: int = 0,
    seed: int = 0,
) -> list[str]:
    """Write an agent's turns about a question whose time is known.

    Args:
        policy: "frame_thinker" (asks for the frame, chooses around it, answers) or "love_r1" (zooms in, answers), by
            name or as made by `policy_named`.
        video: the whole of it.
        time_seconds: when what is asked about can be seen.
        answer: the true one.
        spread_seconds: an interval is longer than it has to be by up to so many seconds on either side, drawn.
        seed: of the draws.

    Returns:
        The turns; the first ones look, the last answers.

    Raises:
        ConfigError: another policy, or a time outside the video.
    """
    plays = policy_named(policy, {}) if isinstance(policy, str) else policy
    if plays.name not in _WRITERS:
        raise ConfigError(
            f"There is no script for the policy {plays.name!r}. {nearest(plays.name, _WRITERS)}"
        )
    if not 0 <= time_seconds < video.duration_seconds:
        raise ConfigError(
            f"time_seconds is {time_seconds}; the video has {video.duration_seconds:.1f} seconds, from 0 on."
        )
    draw = random.Random(f"{seed} {video.source} {time_seconds}")
    spread = draw.randint(0, spread_seconds), draw.randint(0, spread_seconds)
    return _WRITERS[plays.name](plays, video, time_seconds, answer, spread)


def _frame_thinker(
    _policy: BasePolicy, video: VideoInfo, time_seconds: float, answer: str, spread_seconds: tuple[int, int]
) -> list[str]:
    whole = int(time_seconds)
    frame = window_frames(video, (float(whole), None))[0]
    times = video.frame_times_seconds
    first, last = (
        int(np.searchsorted(times, at))
        for at in (whole - spread_seconds[0], time_seconds + 1 + spread_seconds[1])
    )
    # the frame on screen at a second may have come on before it
    first = min(first, frame)
    end = min(-(-max(last, frame) // _ROUND_FRAMES) * _ROUND_FRAMES, video.num_frames - 1)
    start = max(min(first // _ROUND_FRAMES * _ROUND_FRAMES, end - _ROUND_FRAMES), 0)
    # the whole video was seen already
    end -= (start, end) == (0, video.num_frames - 1)
    clock = f"{whole // 60:02d}:{whole % 60:02d}"
    return [
        _thought("", f"get frame number at time {clock}"),
        _thought(f"{start} to {end}", f"choose frames between {start} and {end}"),
        _thought("", f"output answer: {answer}"),
    ]


def _thought(thought: str, action: str) -> str:
    return f"<think>{thought}</think>\n<action>{action}</action>"


def _love_r1(
    policy: BasePolicy, video: VideoInfo, time_seconds: float, answer: str, spread_seconds: tuple[int, int]
) -> list[str]:
    assert isinstance(policy, love_r1.Policy)
    total = video.duration_seconds
    # at the video's ends little is padded, and less than three seconds are not shown
    start = max(min(int(time_seconds) - spread_seconds[0], int(total) - _LEAST_SECONDS), 0)
    end = min(max(int(time_seconds) + 1 + spread_seconds[1], _LEAST_SECONDS), int(np.ceil(total)))
    says = answer if policy.answer_words == "own" else f"{ANSWER_PREFIX}\\boxed{{{answer}}}"
    return [f"{ZOOM_PREFIX}\\boxed{{[{start}, {end}]}}", says]


_WRITERS: dict[str, Callable[[BasePolicy, VideoInfo, float, str, tuple[int, int]], list[str]]] = {
    "frame_thinker": _frame_thinker,
    "love_r1": _love_r1,
}


def trajectory_samples(
    policy: BasePolicy, video: Any, question: str, turns: Sequence[str], *, name: str
) -> list[dict[str, Any]]:
    """Play prepared turns, and keep each with the prompt that it answers: what a model is fine-tuned on.

    Args:
        policy: how the agent looks.
        video: as `run_agent` takes it.
        question: about it.
        turns: of the agent, as `scripted_turns` writes them.
        name: of the trajectory.

    Returns:
        For each turn `id` and `messages`, the last of them the turn: samples of a `CompletionCollator`, whose label is
        that turn alone. What the agent was shown and told is never learnt.

    Raises:
        ConfigError: a turn that the policy refuses.
        VideoError: the video cannot be read.
    """
    speak, kept = scripted(turns), list[dict[str, Any]]()

    def listened(request: Request) -> Any:
        reply = speak(request)
        text = reply if isinstance(reply, str) else reply.text
        messages = [*request.messages, said("assistant", text_block(text))]
        kept.append({"id": f"{name}-{len(kept)}", "messages": messages})
        return reply

    episode = run_agent(listened, video, question, policy)
    refused = next((turn.action for turn in episode.turns if isinstance(turn.action, Invalid)), None)
    if episode.answer is None or len(kept) != len(turns) or refused:
        raise ConfigError(
            f"{name}: {len(kept)} of {len(turns)} turns were played, and it ended with {episode.stopped!r} after "
            f"{refused or episode.turns[-1].action}."
        )
    return kept
