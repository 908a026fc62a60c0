"""`generate` on a shorter prompt, spoken to and answered in the caller's own ids."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import transformers
from packaging.version import Version
from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList
from transformers.utils import ModelOutput

from framegate.errors import AttachmentError
from framegate.models.attachment.account import account_for_generate
from framegate.models.prompt import PromptMap

if TYPE_CHECKING:
    from framegate.models.attachment.call import Call

# Each runs the model, or edits the prompt, by a route of its own that knows only the shortened ids.
REFUSED = (
    "custom_generate",
    "guidance_scale",
    "inputs_embeds",
    "negative_prompt_ids",
    "prompt_lookup_num_tokens",
    "token_healing",
)


def named_call(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Spell a generate call with names alone, `inputs` as input_ids."""
    names = list(inspect.signature(type(model).generate).parameters)[1:]
    call = dict(zip(names, args, strict=False)) | kwargs
    inputs = call.pop("inputs", None)
    return call if inputs is None else call | {"input_ids": inputs}


def generate(call: Call, short: dict[str, Any], model: Any, stock: Callable[..., Any]) -> Any:
    """Run the stock generate on an opened call.

    Args:
        call: the call.
        short: what its `for_generate` gave.
        model: the model.
        stock: its `generate`, as it was before attach.

    Returns:
        What generate returns, in the caller's ids.

    Raises:
        AttachmentError: max_length leaves no room after the caller's prompt.
    """
    if not call.reads_video:
        return stock(**short)
    length = short["input_ids"].shape[1]
    translation = None if call.prompt is None else Translation(call.caller["input_ids"], length)
    passed = short if translation is None else translation.arguments(model, short)
    clocked_ms, started = _clocked_ms(call), time.perf_counter()
    output = stock(**passed)
    elapsed_ms = (time.perf_counter() - started) * 1000
    # on the stock path the tower runs in here; it has a row of its own, as where it runs before
    inside_ms = _clocked_ms(call) - clocked_ms
    account_for_generate(call.report, length, milliseconds=elapsed_ms - inside_ms)
    output = call.close_generated(output, short)
    return output if translation is None else translation.result(output)


def _clocked_ms(call: Call) -> float:
    """Time so far of the tower that the stock model runs itself."""
    return 0.0 if call.clocked is None else call.clocked.milliseconds or 0.0


def setting(model: Any, call: dict[str, Any], name: str) -> Any:
    """Read a setting as generate does: the call's own, else the given configuration's, else the model's."""
    if name in call:
        return call[name]
    given = getattr(call.get("generation_config"), name, None)
    return getattr(model.generation_config, name, None) if given is None else given


def refuse_unsupported(model: Any, call: dict[str, Any]) -> None:
    """Refuse by name the modes of generate that cannot be translated.

    Raises:
        AttachmentError: one of them is asked for, in the call or in the generation configuration.
    """
    chunk_size = setting(model, call, "prefill_chunk_size")
    if chunk_size and Version(transformers.__version__) < Version("5.23"):
        raise AttachmentError(
            f"generate(prefill_chunk_size={chunk_size}) loses video features before transformers 5.23, and this is "
            f"{transformers.__version__}: update, or leave it out."
        )
    if setting(model, call, "cache_implementation") == "paged":
        raise AttachmentError(
            "generate(cache_implementation='paged') is continuous batching, which takes ids alone: the video would be "
            "lost on the way. Leave it out; generate_batch serves text."
        )
    for name in REFUSED:
        value = setting(model, call, name)
        asked = value is not None and value is not False
        if asked and not (name == "guidance_scale" and value == 1):
            raise AttachmentError(
                f"generate({name}=...) cannot run on a compressed video prompt. Leave it out, set keep_ratio=1.0, "
                "or detach the front end."
            )


def expand_steps(output: Any, prompt: PromptMap) -> Any:
    """Bring what generate returned to the caller's columns: states of the prompt's own step, attentions of all."""
    steps = output.get("hidden_states") if isinstance(output, ModelOutput) else None
    if steps and steps[0][0].shape[1] == prompt.new_length:
        rows = prompt.repeat(steps[0][0].shape[0] // len(prompt.mask))
        output["hidden_states"] = (tuple(map(rows.expand_states, steps[0])), *steps[1:])
    steps = output.get("attentions") if isinstance(output, ModelOutput) else None
    # empty where the attention function gives no weights
    if steps and steps[0]:
        rows = prompt.repeat(steps[0][0].shape[0] // len(prompt.mask))
        is_prompt = steps[0][0].shape[2] == prompt.new_length
        first = rows.expand_attentions if is_prompt else rows.expand_keys
        later = (tuple(map(rows.expand_keys, step)) for step in steps[1:])
        output["attentions"] = (tuple(map(first, steps[0])), *later)
    return output


class Translation:
    """Between the caller's prompt and the shorter one that generate runs on.

    Args:
        caller_ids: int64 [B, S], the prompt as the caller gave it.
        short_length: M, columns of the prompt that the stock generate gets.
    """

    def __init__(self, caller_ids: torch.Tensor, short_length: int) -> None:
        self.caller_ids = caller_ids
        self.short_length = short_length

    def to_caller(self, ids: torch.Tensor) -> torch.Tensor:
        """Bring [rows, M + n] ids to [rows, S + n]; rows are those of the caller, each repeated."""
        prompt = self.caller_ids.repeat_interleave(len(ids) // len(self.caller_ids), dim=0).to(ids.device)
        return torch.cat([prompt, ids[:, self.short_length :]], dim=1)

    def arguments(self, model: Any, call: dict[str, Any]) -> dict[str, Any]:
        """Translate lengths, criteria, processors and streamer of a call.

        Raises:
            AttachmentError: max_length leaves no room after the caller's prompt.
        """
        call = call | self._lengths(model, call)
        if call.get("stopping_criteria"):
            criteria = (_CallerCriteria(self, one) for one in call["stopping_criteria"])
            call["stopping_criteria"] = StoppingCriteriaList(criteria)
        if call.get("logits_processor"):
            processors = (_CallerProcessor(self, one) for one in call["logits_processor"])
            call["logits_processor"] = LogitsProcessorList(processors)
        if call.get("prefix_allowed_tokens_fn"):
            call["prefix_allowed_tokens_fn"] = self._caller_prefix(call["prefix_allowed_tokens_fn"])
        if call.get("streamer") is not None:
            call["streamer"] = _CallerStreamer(call["streamer"], self.caller_ids)
        return call

    def result(self, output: Any) -> Any:
        """Put the caller's prompt before the new tokens of what generate returned."""
        if not isinstance(output, ModelOutput):
            return self.to_caller(output)
        output["sequences"] = self.to_caller(output["sequences"])
        return output

    def _lengths(self, model: Any, call: dict[str, Any]) -> dict[str, int]:
        removed = self.caller_ids.shape[1] - self.short_length
        changed = {}
        for side in ("max", "min"):
            length = setting(model, call, f"{side}_length")
            if length and setting(model, call, f"{side}_new_tokens") is None:
                changed[f"{side}_length"] = max(length - removed, 0)
        if changed.get("max_length", self.short_length + 1) <= self.short_length:
            raise AttachmentError(
                f"max_length={changed['max_length'] + removed} is not above the prompt's "
                f"{self.caller_ids.shape[1]} tokens; use max_new_tokens."
            )
        return changed

    def _caller_prefix(self, allowed: Callable[[int, torch.Tensor], list[int]]) -> Callable[..., list[int]]:
        def translated(row: int, ids: torch.Tensor) -> list[int]:
            prompt = self.caller_ids[row].to(ids.device)
            return allowed(row, torch.cat([prompt, ids[self.short_length :]]))

        return translated


class _CallerCriteria(StoppingCriteria):
    """A caller's stopping criterion, shown the caller's ids."""

    def __init__(self, translation: Translation, criterion: Any) -> None:
        self.translation, self.criterion = translation, criterion

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> Any:
        return self.criterion(self.translation.to_caller(input_ids), scores, **kwargs)


class _CallerProcessor(LogitsProcessor):
    """A caller's logits processor, shown the caller's ids."""

    def __init__(self, translation: Translation, processor: Any) -> None:
        self.translation, self.processor = translation, processor

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> Any:
        return self.processor(self.translation.to_caller(input_ids), scores)


class _CallerStreamer:
    """A caller's streamer: the first thing it is given is the prompt, in the caller's ids."""

    def __init__(self, streamer: Any, caller_ids: torch.Tensor) -> None:
        self.streamer = streamer
        self.prompt: torch.Tensor | None = caller_ids

    def put(self, value: torch.Tensor) -> None:
        if self.prompt is not None:
            value, self.prompt = self.prompt.cpu(), None
        self.streamer.put(value)

    def end(self) -> None:
        self.streamer.end()
