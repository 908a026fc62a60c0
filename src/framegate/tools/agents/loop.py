"""One loop for all agents: show frames, read a turn, do what it asks, until there is an answer."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from framegate.errors import FrameError
from framegate.settings import Count, read
from framegate.tokenizers.clip import open_video, probe
from framegate.tokenizers.clip.address import fetched
from framegate.tools.agents.episode import Episode, Turn
from framegate.tools.agents.grammar import Action, Answer, Invalid
from framegate.tools.agents.policies import policy_named
from framegate.tools.agents.policies._policy import BasePolicy
from framegate.tools.agents.speakers import Request, Said, Speak
from framegate.tools.agents.state import State
from framegate.types import VideoInfo

NOT_COUNTED = "the speaker counted no video tokens: this turn spends nothing of max_video_tokens"


def run_agent(
    speak: Speak,
    video: Any,
    question: str,
    policy: str | BasePolicy,
    *,
    settings: Mapping[str, Any] | None = None,
    max_video_tokens: int | None = None,
) -> Episode:
    """Let an agent look at a video until it answers.

    Args:
        speak: writes the turns: `ModelSpeaker`, `scripted`, or any function of a `Request` that gives a text.
        video: path, address, a file's bytes or frames; or a VideoInfo, whose source is the path.
        question: about it.
        policy: name of a policy, or one that was made by `policy_named`.
        settings: of a policy that is named; what is left out is the paper's.
        max_video_tokens: once the turns have read so many video tokens, the next is the last and has to answer; it is
            read beyond that. None for no limit but the policy's.

    Returns:
        The episode. A turn that asks for what cannot be done is no error: its action is Invalid.

    Raises:
        ConfigError: an unknown policy or setting, or one that does not fit.
        VideoError, FrameError: the video cannot be read, or is live.
    """
    read(max_video_tokens, Count | None, "max_video_tokens")
    plays = policy_named(policy, settings or {}) if isinstance(policy, str) else policy
    source, info = _opened(video)
    first = plays.begin(info, source, question)
    state, last = first, plays.attempts - 1
    for attempt in range(plays.attempts):
        state = replace(first, attempt=attempt, turns=state.turns if attempt else first.turns)
        # a first attempt is free even where it is the only one
        state = state.force("attempts") if attempt == last > 0 else state
        state = _attempted(speak, plays, state, max_video_tokens)
        if state.stopped or state.forced:
            break
    return Episode(
        video=info,
        source=source,
        question=question,
        policy=plays.name,
        settings=_plain(plays),
        turns=state.turns,
        answer=state.answer,
        stopped=state.stopped or "invalid",
    )


def _attempted(speak: Speak, policy: BasePolicy, state: State, max_video_tokens: int | None) -> State:
    """Play until the attempt ends: answered, an invalid turn, or a forced one."""
    for turn in range(policy.max_turns + 1):
        if state.forced is None and _spent(state) >= (max_video_tokens or float("inf")):
            state = state.force("token_budget")
        elif state.forced is None and turn == policy.max_turns:
            if policy.attempts > 1:
                # the paper takes a trajectory without an answer for a failed attempt
                return state
            state = state.force("turn_limit")
        was_forced = state.forced is not None
        state = _turn(speak, policy, state, turn, max_video_tokens)
        if state.stopped or was_forced or (state.refused and state.forced is None):
            break
    return state


def _turn(speak: Speak, policy: BasePolicy, state: State, number: int, max_video_tokens: int | None) -> State:
    began = time.perf_counter()
    request = Request(
        messages=policy.prompt(state),
        grows=policy.grows and bool(state.conversation),
        begin=policy.begins(state),
        legal=policy.legal(state),
        turn=number,
        attempt=state.attempt,
        is_forced=state.forced is not None,
        max_new_tokens=policy.max_new_tokens,
        temperature=policy.temperature,
        top_p=policy.top_p,
    )
    reply = speak(request)
    reply = reply if isinstance(reply, Said) else Said(text=reply)
    if max_video_tokens and reply.video_tokens is None:
        reply = replace(reply, notes=(*reply.notes, NOT_COUNTED))
    return heard(policy, state, reply, seconds=time.perf_counter() - began)


def heard(policy: BasePolicy, state: State, reply: Said, *, seconds: float = 0.0) -> State:
    """Do what a reply asks for, and note the turn.

    Args:
        policy: how the agent looks.
        state: before the turn.
        reply: the agent's.
        seconds: that it took.

    Returns:
        The state before the next turn; its `refused` says why nothing was done, where nothing was.
    """
    action = _read(policy, reply)
    done = _done(policy, state, action, reply.text)
    record = Turn(
        text=reply.text,
        action=done.refused or action,
        looked_at=state.shown,
        told=state.told,
        attempt=state.attempt,
        is_forced=state.forced is not None,
        is_cut=reply.is_cut,
        video_tokens=reply.video_tokens,
        prompt_tokens=reply.prompt_tokens,
        new_tokens=reply.new_tokens,
        encoded_cells=reply.encoded_cells,
        reused_cells=reply.reused_cells,
        seconds=seconds,
        notes=reply.notes,
    )
    return replace(done, turns=(*state.turns, record))


def _done(policy: BasePolicy, state: State, action: Action, text: str) -> State:
    """Let the policy do what a turn asks for; a forced turn that gives no answer is refused."""
    if state.forced and not isinstance(action, Answer):
        invalid = action if isinstance(action, Invalid) else Invalid("an answer was asked for", text)
        return state.refuse(invalid)
    try:
        return policy.update(replace(state, refused=None), action)
    except FrameError as error:
        # of a sampler: what was asked for is not in the video
        return state.refuse(Invalid(str(error), text))


def _read(policy: BasePolicy, reply: Said) -> Action:
    action = policy.parse(reply.text)
    if not isinstance(action, Invalid):
        return action
    if not reply.text.strip():
        return Invalid("the turn is empty", reply.text)
    if reply.is_cut:
        return Invalid(f"cut by the limit of new tokens: {action.reason}", reply.text)
    return action


def _spent(state: State) -> int:
    return sum(turn.video_tokens or 0 for turn in state.turns)


def _opened(video: Any) -> tuple[Any, VideoInfo]:
    """A video as a message holds it, and what is known of it."""
    if isinstance(video, VideoInfo):
        return video.content or video.source, video
    source = fetched(video)
    if isinstance(source, str | Path):
        return str(source), probe(source)
    with open_video(source) as stream:
        return source, stream.info


def _plain(policy: BasePolicy) -> dict[str, Any]:
    """Settings of a policy that can be spelled; a scorer by its class."""
    values = {field.name: getattr(policy, field.name) for field in dataclasses.fields(policy)}
    simple = (str, int, float, bool, type(None))
    return {
        name: value if isinstance(value, simple) else type(value).__name__ for name, value in values.items()
    }
