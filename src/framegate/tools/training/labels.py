"""Completion-only labels: the loss counts answers and the tokens that end them, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import torch
from torch import Tensor

from framegate.errors import ConfigError, nearest
from framegate.tools.training.config import Learn

IGNORED = -100


def completion_labels(
    processor: Any,
    conversations: Sequence[Sequence[Any]],
    input_ids: Tensor,
    attention_mask: Tensor,
    *,
    learn: str = "last",
) -> Tensor:
    """Label the assistant's turns of each conversation.

    Args:
        processor: with the chat template and the tokenizer that made the ids.
        conversations: one per row; the last message of each is the assistant's.
        input_ids: int64 [B, S], padded on either side.
        attention_mask: int64 [B, S], 0 at padding.
        learn: "last" labels the last turn of the assistant, "all" every one.

    Returns:
        int64 [B, S]: the ids of the answers and of the tokens that end them, -100 everywhere else.

    Raises:
        ConfigError: a conversation that ends with another role; a template that rewrites the prompt once an answer
            follows, or ends no answer; an answer whose tokens do not stand alone; a video behind an answer that is
            to be learnt; an unknown `learn`.
    """
    labels = torch.full_like(input_ids, IGNORED)
    for row, conversation in enumerate(conversations):
        behind = int(attention_mask[row].nonzero()[-1]) + 1
        for turn in _turns(conversation, learn):
            answer, tail = _answer_and_tail(processor, conversation, turn)
            ids, rest = (_ids(processor.tokenizer, text) for text in (answer, tail))
            end = behind - len(rest)
            start = end - len(ids)
            if start < 0 or input_ids[row, start:behind].tolist() != ids + rest:
                raise ConfigError(
                    f"The answer {answer!r} is not {len(ids)} tokens of its own with {len(rest)} behind it: the "
                    "tokenizer joins them with what stands before, or a video stands behind. Use a chat template "
                    "that sets answers apart, and show videos before the first answer that is learnt."
                )
            labels[row, start:end] = input_ids[row, start:end]
    return labels


def _turns(conversation: Sequence[Any], learn: str) -> list[int]:
    """Which messages are learnt."""
    if not conversation or conversation[-1].get("role") != "assistant":
        role = conversation[-1].get("role") if conversation else None
        raise ConfigError(f"A training conversation ends with {role!r}; its last message is the assistant's.")
    if learn not in get_args(Learn):
        raise ConfigError(f"Unknown learn {learn!r}. {nearest(learn, get_args(Learn))}")
    if learn == "last":
        return [len(conversation) - 1]
    return [turn for turn, message in enumerate(conversation) if message.get("role") == "assistant"]


def _answer_and_tail(processor: Any, conversation: Sequence[Any], turn: int) -> tuple[str, str]:
    """An answer with the token that ends it, as the template writes them, and what follows that token."""
    whole = processor.apply_chat_template(list(conversation), tokenize=False)
    upto = processor.apply_chat_template(list(conversation[: turn + 1]), tokenize=False)
    prompt = processor.apply_chat_template(
        list(conversation[:turn]), tokenize=False, add_generation_prompt=True
    )
    if not whole.startswith(upto) or not upto.startswith(prompt):
        raise ConfigError(
            "The chat template writes the prompt in another way once an answer follows; the prompt alone ends with "
            f"{prompt[-40:]!r}. Use a template whose generation prompt begins the assistant's turn."
        )
    written = upto[len(prompt) :]
    ends = [
        written.rfind(token) + len(token) for token in _end_tokens(processor.tokenizer) if token in written
    ]
    if not ends:
        raise ConfigError(
            f"The chat template ends the answer with {written[-20:]!r}; a model learns to stop from one of "
            f"{sorted(_end_tokens(processor.tokenizer))}."
        )
    return written[: max(ends)], whole[len(prompt) + max(ends) :]


def _end_tokens(tokenizer: Any) -> set[str]:
    return {token for token in (tokenizer.eos_token, "<|im_end|>") if token in tokenizer.all_special_tokens}


def _ids(tokenizer: Any, text: str) -> list[int]:
    found: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
    return found
