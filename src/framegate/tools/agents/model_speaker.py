"""A model as the writer of an agent's turns, with its front end attached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

import framegate
from framegate.errors import AttachmentError
from framegate.models.feature_store import FeatureStore
from framegate.models.prompt.cached import CACHE_NAMES
from framegate.models.video_processor.processor import GatedVideoProcessor
from framegate.settings import Count, read
from framegate.tools.agents.constrained import LegalTurns, SpelledTokens
from framegate.tools.agents.speakers import Request, Said, plans_of
from framegate.tools.agents.state import Message, rendered

READ_AGAIN = "the conversation was read again: its chat template does more than join messages"
STORE_BYTES = 1 << 30


class ModelSpeaker:
    """Writes turns with `generate`, in a batch of one.

    Where a request adds one message to the conversation, only that is read: the language model's cache of what was
    before is kept. Where it cannot be, the whole conversation is read again, with a note. What of the video an earlier
    turn encoded is not encoded again.

    Args:
        model: with a front end attached.
        processor: attached with it.
        is_constrained: write legal turns alone.
        max_new_tokens: longest turn; None for the policy's.
        keeps_cache: keep the language model's cache where a prompt grows.
        store: features that turns share, also those of other speakers; None for an empty one of its own.
        seed: of the first turn where the policy samples; each turn has the next.

    Raises:
        ConfigError: max_new_tokens below 1.
        AttachmentError: no front end is attached, or none with a processor: it reads the frame plans of the messages.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        *,
        is_constrained: bool = False,
        max_new_tokens: int | None = None,
        keeps_cache: bool = True,
        store: FeatureStore | None = None,
        seed: int = 0,
    ) -> None:
        front_end = framegate.front_end_of(model)
        if front_end is None or not isinstance(processor.video_processor, GatedVideoProcessor):
            raise AttachmentError(
                "The model has no front end that was attached with this processor, which reads frame plans: "
                'framegate.attach(model, processor, "dense").'
            )
        self.model, self.processor, self.front_end = model, processor, front_end
        read(max_new_tokens, Count | None, "max_new_tokens")
        self.max_new_tokens, self.keeps_cache, self.seed = max_new_tokens, keeps_cache, seed
        self._tokens = SpelledTokens(processor.tokenizer) if is_constrained else None
        self.store = FeatureStore(STORE_BYTES) if store is None else store
        self._before: _Read | None = None
        self._turns = 0

    def __call__(self, request: Request) -> Said:
        """Write the next turn."""
        wants_cache = request.grows and self.keeps_cache and self._before is not None
        grown = self._grown(request) if wants_cache else None
        note = (READ_AGAIN,) if wants_cache and grown is None else ()
        sent = request.messages[-1:] if grown is not None else request.messages
        inputs = self._rendered(request.messages, request.begin) if grown is None else grown
        output = self._generated(inputs, request)
        limit, length = self._limit(request), inputs["input_ids"].shape[1]
        new = output.sequences[0, length:]
        text = self.processor.batch_decode(new[None], skip_special_tokens=True)[0]
        cached = 0 if grown is None or self._before is None else self._before.ids.shape[1] - 1
        # a ModelOutput that is asked for an old name makes transformers warn
        name = next(name for name in CACHE_NAMES if name in output.keys())  # noqa: SIM118
        self._before = _Read(output.sequences, output[name], name)
        report = self.front_end.report if plans_of(sent) else None
        left_out = 0 if report is None else report.dense_tokens - report.kept_tokens
        return Said(
            text=request.begin + text,
            is_cut=len(new) >= limit and int(new[-1]) != self.processor.tokenizer.eos_token_id,
            video_tokens=0 if report is None else report.kept_tokens,
            prompt_tokens=length - cached - left_out,
            new_tokens=len(new),
            encoded_cells=0 if report is None else report.encoded_cells,
            reused_cells=0 if report is None else report.reused_cells,
            notes=note if report is None else (*note, *report.notes),
        )

    def _limit(self, request: Request) -> int:
        return self.max_new_tokens or request.max_new_tokens

    def _generated(self, inputs: dict[str, Any], request: Request) -> Any:
        options: dict[str, Any] = {"do_sample": request.temperature is not None}
        if request.temperature is not None:
            # top_k: the model's own, or 50 where it has none, is no part of a policy
            options |= {"temperature": request.temperature, "top_p": request.top_p, "top_k": 0}
        if self._tokens is not None:
            options["logits_processor"] = [LegalTurns(self._tokens, request.legal, begun=request.begin)]
        # with a store the stock path, which places no video behind one that its cache holds, steps aside
        with torch.random.fork_rng(), self.front_end.remember(self.store):
            torch.manual_seed(self.seed + self._turns)
            self._turns += 1
            return self.model.generate(
                **inputs,
                **options,
                max_new_tokens=self._limit(request),
                num_beams=1,
                return_dict_in_generate=True,
            )

    def _rendered(self, messages: list[Message], begin: str = "") -> dict[str, Any]:
        """The model's inputs for messages, with the beginning of a reply."""
        return dict(rendered(self.processor, messages, begin).to(self.model.device))

    def _grown(self, request: Request) -> dict[str, Any] | None:
        """Inputs of the last message alone, on the cache; None where the template does more than join messages."""
        template, last = self.processor.apply_chat_template, request.messages[-1:]
        whole, alone = (
            template(messages, tokenize=False, add_generation_prompt=True)
            for messages in (request.messages, last)
        )
        tokenizer = self.processor.tokenizer
        _, end, joint = whole[: len(whole) - len(alone)].rpartition(tokenizer.eos_token)
        if self._before is None or request.begin or not whole.endswith(alone) or not end or joint.strip():
            return None
        inputs, known = self._rendered(last), self._before.ids
        # a turn that was cut has no end of its own
        between = joint if known[0, -1] == tokenizer.eos_token_id else end + joint
        gap = tokenizer.encode(between, add_special_tokens=False)
        old = torch.cat([known, known.new_tensor(gap)[None]], 1) if gap else known
        ids = torch.cat([old, inputs["input_ids"]], 1)
        grown = {**inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if "mm_token_type_ids" in inputs:
            types = inputs["mm_token_type_ids"]
            grown["mm_token_type_ids"] = torch.cat([types.new_zeros(old.shape), types], 1)
        return grown | {self._before.cache_name: self._before.cache}


@dataclass(frozen=True, eq=False)
class _Read:
    """What the language model has read: ids [1, L] with its last reply, and its cache of all but the last."""

    ids: Tensor
    cache: Any
    cache_name: str
