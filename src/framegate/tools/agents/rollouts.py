"""Rollouts of a video agent for TRL's GRPOTrainer, with the videos that its interface has no place for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

import torch
from torch import Tensor

from framegate.errors import AttachmentError, ConfigError
from framegate.tokenizers.clip import probe
from framegate.tools.agents.loop import heard
from framegate.tools.agents.policies._policy import BasePolicy
from framegate.tools.agents.rewards.completion import Reward
from framegate.tools.agents.speakers import Said
from framegate.tools.agents.state import Message, State, rendered

_TYPES = "mm_token_type_ids"
_NOT_MEDIA = ("input_ids", "attention_mask", _TYPES)


@dataclass(frozen=True, eq=False)
class Prompt:
    """A prompt as the model reads it.

    Args:
        ids: of its tokens.
        types: of each token, 0 for text; empty where the model asks for none.
        media: pixels and grids of its videos, rows of one after those of another.
    """

    ids: list[int]
    types: list[int]
    media: dict[str, Tensor]


@dataclass(eq=False)
class Rollout:
    """One agent at work.

    Args:
        state: where it stands.
        prompt: before what is trained; None until a turn was written.
        ids: what is trained and, where the prompt only grows, what was told between.
        is_own: 1 for each of them that the agent wrote.
        messages: the turns it wrote and what it was told after each, for rewards.
        is_over: no further turn follows.
        types: of the prompt's tokens and of all behind them.
        media: of the videos among them.
    """

    state: State
    prompt: Prompt | None = None
    ids: list[int] = field(default_factory=list)
    is_own: list[int] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    is_over: bool = False
    types: list[int] = field(default_factory=list)
    media: dict[str, Tensor] = field(default_factory=dict)


class AgentRollouts:
    """Plays episodes for GRPO: TRL's `rollout_func` (1.16, experimental there).

    A dataset's prompts are conversations: a user's message with one video, a path, and one text, the question; turns
    that were written before may follow as the assistant's. Where the policy's prompt only grows, a whole episode is one
    completion, and what the agent was told in it is out of the loss. Where the prompt is built anew, the first turn is
    the completion, as in LOVE-R1's decoupled training; the turns behind it are played for the reward.

    TRL hands `rollout_func`'s fields to rewards alone and the model's forward pass gets pixels of dataset images, never
    of videos. So the model is given a hook, which finds the videos of each row of a batch by the row's tokens.

    Rewards get the column `trajectory`: the agent's turns and what it was told, as chat messages.

    Args:
        model: the one that TRL trains, a front end of preset "dense" attached.
        processor: attached with it.
        policy: how the agent looks.
        plays_on: play the turns behind the first where the prompt is built anew; False for rewards that read no more
            than the first.

    Raises:
        ConfigError: a policy with several attempts at a question: a completion has one.
    """

    def __init__(self, model: Any, processor: Any, policy: BasePolicy, *, plays_on: bool = True) -> None:
        if policy.attempts != 1:
            raise ConfigError(f"{policy.name}.attempts is {policy.attempts}; in training it has to be 1.")
        self.processor, self.policy, self.plays_on = processor, policy, plays_on or policy.grows
        self._rows: dict[tuple[int, ...], Prompt] = {}
        self._hook = model.register_forward_pre_hook(self._with_videos, with_kwargs=True)

    def remove(self) -> None:
        """Take the hook off the model."""
        self._hook.remove()

    def __call__(self, prompts: Sequence[Any], trainer: Any) -> dict[str, Any]:
        """Play an episode for each prompt.

        Args:
            prompts: of the batch, each as often as it is played.
            trainer: TRL's, whose model, settings of sampling and longest completion hold.

        Returns:
            `prompt_ids`, `completion_ids`, `env_mask` (0 for what the agent was told), `logprobs` (None: they serve
            vLLM alone) and `trajectory`, one of each a prompt.
        """
        begun = {name: self._begun(prompt) for name, prompt in {str(one): one for one in prompts}.items()}
        rollouts = [Rollout(begun[str(prompt)]) for prompt in prompts]
        while playing := [rollout for rollout in rollouts if not rollout.is_over]:
            for rollout in playing:
                if len(rollout.state.turns) >= self.policy.max_turns:
                    rollout.state = rollout.state.force("turn_limit")
            rendered = self._rendered(playing)
            written = _written(rendered, self.processor, trainer)
            for rollout, prompt, ids in zip(playing, rendered, written, strict=True):
                self._take(rollout, prompt, ids)
        self._rows = {}
        first_ids = [rollout.prompt.ids for rollout in rollouts if rollout.prompt is not None]
        for rollout, first in zip(rollouts, first_ids, strict=True):
            row = Prompt(first + rollout.ids, rollout.types, rollout.media)
            known = self._rows.setdefault(tuple(row.ids), row).media
            if any(not torch.equal(known[name], row.media[name]) for name in known):
                raise ConfigError(
                    f"Two videos of a batch have the same question, {rollout.state.question!r}, and the same tokens; "
                    "ask them in other words, so that each row finds its own video."
                )
        return {
            "prompt_ids": first_ids,
            "completion_ids": [rollout.ids for rollout in rollouts],
            "env_mask": [rollout.is_own for rollout in rollouts],
            "logprobs": None,
            "trajectory": [rollout.messages for rollout in rollouts],
        }

    def _begun(self, prompt: Sequence[Message]) -> State:
        """Where an agent stands behind the turns that a prompt holds already."""
        asked, *turns = prompt
        video, question = (
            next(block[kind] for block in asked["content"] if block.get(kind) is not None)
            for kind in ("video", "text")
        )
        state = self.policy.begin(probe(video), str(video), question)
        for message in turns:
            state = heard(self.policy, state, Said(text=message["content"][0]["text"]))
        if state.stopped or state.refused:
            raise ConfigError(f"The turns behind the question {question!r} leave nothing to ask: {turns}.")
        return state

    def _rendered(self, rollouts: Sequence[Rollout]) -> list[Prompt]:
        """Prompts of the next turns; agents that stand alike share one."""
        known: dict[tuple[Any, ...], Prompt] = {}
        prompts = []
        for rollout in rollouts:
            state = rollout.state
            texts = tuple(turn.text for turn in state.conversation)
            key = (state.source, state.question, state.stretches, state.forced, texts)
            if key not in known:
                known[key] = self._prompt(self.policy.prompt(state), self.policy.begins(state))
            prompts.append(known[key])
        return prompts

    def _prompt(self, messages: list[Message], begin: str) -> Prompt:
        read = rendered(self.processor, messages, begin)
        media = {
            name: value
            for name, value in read.items()
            if name not in _NOT_MEDIA and not name.startswith("framegate")
        }
        types = read[_TYPES][0].tolist() if _TYPES in read else []
        return Prompt(read["input_ids"][0].tolist(), types, media)

    def _take(self, rollout: Rollout, prompt: Prompt, ids: list[int]) -> None:
        """Note a turn that was written, and do what it asks for."""
        state, tokenizer = rollout.state, self.processor.tokenizer
        text = self.policy.begins(state) + tokenizer.decode(ids, skip_special_tokens=True)
        if rollout.prompt is None:
            rollout.prompt, rollout.types = prompt, prompt.types
        elif self.policy.grows:
            self._tell(rollout, prompt)
        if self.policy.grows or not rollout.ids:
            rollout.ids, rollout.is_own = rollout.ids + ids, rollout.is_own + [1] * len(ids)
            rollout.types, rollout.media = rollout.types + [0] * len(ids), prompt.media
        rollout.messages.append({"role": "assistant", "content": text})
        rollout.state = heard(self.policy, state, Said(text=text, is_cut=ids[-1] not in _ends(tokenizer)))
        is_done = rollout.state.stopped or state.forced or rollout.state.refused
        rollout.is_over = bool(is_done) or not self.plays_on
        if not rollout.is_over:
            rollout.messages.append({"role": "user", "content": rollout.state.told})

    def _tell(self, rollout: Rollout, prompt: Prompt) -> None:
        """Put what was told behind the last turn: the tokens behind the end of the assistant's last message."""
        end = self.processor.tokenizer.eos_token_id
        place = [place for place, token in enumerate(prompt.ids) if token == end][-2]
        # a turn that was cut has no end of its own
        place += rollout.ids[-1] == end
        told = prompt.ids[place:]
        rollout.ids, rollout.is_own = rollout.ids + told, rollout.is_own + [0] * len(told)
        rollout.types = rollout.types + prompt.types[place:]

    def _with_videos(self, module: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Add to a batch of TRL's the videos of its rows."""
        if not self._rows or "input_ids" not in kwargs or "labels" not in kwargs:
            return args, kwargs  # generation and others bring their own
        ids, mask = kwargs["input_ids"], kwargs["attention_mask"].bool()
        rows = []
        for row, there in zip(ids, mask, strict=True):
            found = self._rows.get(tuple(row[there].tolist()))
            if found is None:
                raise AttachmentError(
                    "A row of the batch is of no rollout; leave mask_truncated_completions off."
                )
            rows.append(found)
        added = _joined(rows)
        if rows[0].types:
            added[_TYPES] = torch.zeros_like(ids)
            for place, row in enumerate(rows):
                added[_TYPES][place, mask[place]] = torch.tensor(row.types, device=ids.device)
        return args, {**kwargs, **{name: value.to(ids.device) for name, value in added.items()}}


def _written(prompts: Sequence[Prompt], processor: Any, trainer: Any) -> list[list[int]]:
    """Sample a turn behind each prompt, all in one batch."""
    tokenizer, settings = processor.tokenizer, trainer.args
    longest = max(len(prompt.ids) for prompt in prompts)
    pads = [longest - len(prompt.ids) for prompt in prompts]
    rows = [[tokenizer.pad_token_id] * pad + prompt.ids for pad, prompt in zip(pads, prompts, strict=True)]
    mask = [[0] * pad + [1] * (longest - pad) for pad in pads]
    inputs = {"input_ids": torch.tensor(rows), "attention_mask": torch.tensor(mask), **_joined(prompts)}
    if prompts[0].types:
        inputs[_TYPES] = torch.tensor(
            [[0] * pad + prompt.types for pad, prompt in zip(pads, prompts, strict=True)]
        )
    model = trainer.accelerator.unwrap_model(trainer.model)
    was_training = model.training
    model.eval()
    with torch.no_grad():
        output = model.generate(
            **{name: value.to(trainer.accelerator.device) for name, value in inputs.items()},
            do_sample=True,
            temperature=settings.temperature,
            top_p=settings.top_p,
            # the model's own settings are no part of the policy that is trained
            top_k=settings.top_k,
            min_p=settings.min_p,
            repetition_penalty=settings.repetition_penalty,
            suppress_tokens=_media_tokens(processor),
            max_new_tokens=settings.max_completion_length,
            pad_token_id=tokenizer.pad_token_id,
        )
    model.train(was_training)
    return [_up_to_end(row, tokenizer) for row in output[:, longest:].tolist()]


def _up_to_end(ids: list[int], tokenizer: Any) -> list[int]:
    """A reply with the token that ends it; never empty, for of one that is, that token was sampled."""
    ends = _ends(tokenizer)
    return ids[: next((place for place, token in enumerate(ids) if token in ends), len(ids)) + 1]


def _ends(tokenizer: Any) -> tuple[int, int]:
    # several models may end with padding as well
    return tokenizer.eos_token_id, tokenizer.pad_token_id


def _media_tokens(processor: Any) -> list[int] | None:
    """Placeholders that a reply must not hold: the model would look for their pixels."""
    found = (getattr(processor, name, None) for name in ("image_token_id", "video_token_id"))
    return [token for token in found if token is not None] or None


def _joined(prompts: Sequence[Prompt]) -> dict[str, Tensor]:
    """Pixels and grids of all rows, one after the other, as the processor gives those of a batch."""
    return {name: torch.cat([prompt.media[name] for prompt in prompts]) for name in prompts[0].media}


def on_trajectories(reward: Reward) -> Reward:
    """Let a reward judge whole trajectories where a trainer's completions are single turns or decoded tokens.

    Args:
        reward: of `framegate.tools.agents.rewards`.

    Returns:
        The reward, of the same name, which reads the column `trajectory` of `AgentRollouts`.
    """

    @wraps(reward)
    def judged(completions: Sequence[Any], *, trajectory: Sequence[Any], **columns: Any) -> list[float]:
        return reward(trajectory, **columns)

    return judged
