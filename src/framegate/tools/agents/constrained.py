"""Constrained decoding: a logits processor that lets through only what a legal turn may go on with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor

from framegate.tools.agents.legal import Legal, Place

Places = frozenset[Place]


class SpelledTokens:
    """Texts of a tokenizer's tokens as a tree of letters; made once, for many turns.

    Args:
        tokenizer: of the model; its special tokens are left out.
    """

    def __init__(self, tokenizer: Any) -> None:
        special = set(tokenizer.all_special_ids)
        # a token alone may lose the space before it
        first = tokenizer.encode("a", add_special_tokens=False)[-1]
        skipped = len(_text(tokenizer, [first]))
        self.end = tokenizer.eos_token_id
        self.root, self.texts = _Node(), dict[int, str]()
        for number in range(len(tokenizer)):
            text = "" if number in special else _text(tokenizer, [first, number])[skipped:]
            if text and "\ufffd" not in text:
                self.texts[number] = text
                self.root.add(text, number)


class LegalTurns(LogitsProcessor):  # type: ignore[misc]
    """Lets a model write nothing but legal turns: `model.generate(logits_processor=[LegalTurns(...)])`.

    Make a new one for each call: the text begins where the ids of the first step end. Rows of a batch have the same
    legal turns. Where no token fits, which only a tokenizer that cannot spell a letter brings about, the turn ends.

    Args:
        tokens: of the model's tokenizer.
        legal: the legal turns, as `policy.legal(state)` gives them.
        begun: what of the turn stands in the prompt already.
    """

    def __init__(self, tokens: SpelledTokens, legal: Legal, *, begun: str = "") -> None:
        self.tokens, self.legal = tokens, legal
        self._prompt_length: int | None = None
        self._after: dict[tuple[int, ...], Places] = {(): legal.after(legal.beginning(), begun)}
        self._allowed: dict[Places, Tensor] = {}

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Take scores [B, V] of the token behind input_ids [B, L]; those of all others become -inf."""
        if self._prompt_length is None:
            self._prompt_length = input_ids.shape[1]
        masked = torch.full_like(scores, -torch.inf)
        for row, ids in enumerate(input_ids[:, self._prompt_length :].tolist()):
            allowed = self._tokens_after(tuple(ids)).to(scores.device)
            masked[row, allowed] = scores[row, allowed]
        return masked

    def _tokens_after(self, ids: tuple[int, ...]) -> Tensor:
        places = self.legal.at_token(self._places(ids))
        key = self.legal.alike(places)
        if key not in self._allowed:
            found = [number for node in _reached(self.tokens.root, places, self.legal) for number in node.ids]
            is_end = self.legal.may_end(places) or not found
            self._allowed[key] = torch.tensor(found + [self.tokens.end] * is_end)
        return self._allowed[key]

    def _places(self, ids: tuple[int, ...]) -> Places:
        """Places after new tokens, remembered for the next step."""
        if ids not in self._after:
            before = self.legal.at_token(self._places(ids[:-1]))
            # a row that has ended goes on with padding
            self._after[ids] = self.legal.after(before, self.tokens.texts.get(ids[-1], ""))
        return self._after[ids]


class _Node:
    """A node of the tree: tokens whose text ends here, and what follows by letters."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.next: dict[str, _Node] = {}

    def add(self, text: str, number: int) -> None:
        """Put a token in."""
        node = self
        for letter in text:
            node = node.next.setdefault(letter, _Node())
        node.ids.append(number)


def _reached(node: _Node, places: Places, legal: Legal) -> Iterator[_Node]:
    """All nodes behind one that a legal turn goes through."""
    for letter, behind in node.next.items():
        if after := legal.after(places, letter):
            yield behind
            yield from _reached(behind, after, legal)


def _text(tokenizer: Any, ids: list[int]) -> str:
    text: str = tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return text
