"""The front end: hooks on one model instance, a replaced video processor, and the report of the last call."""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from types import MethodType, TracebackType
from typing import Any, Self

from torch.utils.hooks import RemovableHandle

from framegate.config import FrontEndConfig
from framegate.errors import AttachmentError, ConfigError
from framegate.models.attachment.attention import TowerAttention
from framegate.models.attachment.call import (
    EncodedMedia,
    bound_call,
    cached_prompt,
    compress_call,
    continue_call,
    expand_output,
    holds_video,
    without_own_keys,
)
from framegate.models.attachment.gating import num_cells
from framegate.models.attachment.generation import Translation, named_call, refuse_unsupported
from framegate.models.families import Family, family_of, unwrap
from framegate.models.prompt import PromptMap, carry_map
from framegate.models.video_processor import ProcessorAttachment, attach_processor
from framegate.report import Report

CONFIG_NAME = "front_end_config.json"
_OWNER = "_framegate_front_end"
_METHODS = ("generate", "save_pretrained")


class FrontEnd:
    """A front end attached to one model, and to its processor; `attach` makes it.

    The inner model (without its head) is hooked, so that trainers that call it directly are served as well; callers
    get hidden states and logits in the shape of their own ids. `generate` and `save_pretrained` are replaced on the
    instance. Nothing else is touched, and `detach` takes everything off.

    Args:
        model: the transformers model, unwrapped.
        family: its row of the family table.
        config: what to do.
    """

    def __init__(self, model: Any, family: Family, config: FrontEndConfig) -> None:
        self.model = model
        self.family = family
        self.config = config
        self.processor: ProcessorAttachment | None = None
        self._report = Report(preset=config.preset, notes=["No call yet."])
        self._handles: list[RemovableHandle] = []
        self._replaced: dict[str, Any] = {}
        self._attention: TowerAttention | None = None

    @property
    def report(self) -> Report:
        """The account of the last call."""
        return self._report

    @property
    def is_attached(self) -> bool:
        """True until `detach`."""
        return bool(self._handles)

    def detach(self) -> None:
        """Take everything off: model and processor are stock again. A second time does nothing."""
        for handle in self._handles:
            handle.remove()
        self._handles = []
        for name, previous in self._replaced.items():
            vars(self.model).pop(name, None)
            if previous is not None:
                setattr(self.model, name, previous)
        self._replaced = {}
        if self._attention is not None:
            self._attention.restore()
            self._attention = None
        if self.processor is not None:
            self.processor.detach()
            self.processor = None
        vars(self.model).pop(_OWNER, None)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `front_end_config.json` into a folder, beside a model's own files."""
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        (path / CONFIG_NAME).write_text(json.dumps(self.config.to_dict(), indent=2) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detach()

    def _put_on(self) -> None:
        inner = self.model.base_model
        if self.config.context == "anchored":
            self._attention = TowerAttention(inner.visual)
        self._handles = [
            inner.register_forward_pre_hook(self._before_inner, with_kwargs=True),
            inner.register_forward_hook(self._after_inner, with_kwargs=True),
            self.model.register_forward_pre_hook(self._before_outer, with_kwargs=True),
        ]
        for name, method in zip(_METHODS, (_generate, _save_pretrained), strict=True):
            self._replaced[name] = vars(self.model).get(name)
            setattr(self.model, name, MethodType(method, self.model))
        setattr(self.model, _OWNER, self)

    def _stock(self, name: str) -> Any:
        """A method as it was before attach, bound to the model."""
        return self._replaced[name] or MethodType(getattr(type(self.model), name), self.model)

    def _compress(self, inner: Any, call: dict[str, Any]) -> tuple[dict[str, Any], PromptMap | None]:
        report = Report(preset=self.config.preset)
        if self.processor is not None and self._processor_made(inner, call):
            self.processor.account(report)
        short, prompt = compress_call(inner, self.family, self.config, call, report)
        report.peak_memory_bytes = _peak_memory_bytes()
        self._report = report
        return short, prompt

    def _processor_made(self, inner: Any, call: dict[str, Any]) -> bool:
        """True when the processor's last call had as many tokens as this one: it is taken to be the same videos."""
        assert self.processor is not None
        made = sum(video.dense_tokens for video in self.processor.video_processor.last_call)
        return made == num_cells(inner.visual, call["video_grid_thw"])

    def _before_outer(
        self, outer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """With labels, compress here: those of dropped placeholders must not count."""
        call = bound_call(outer, args, kwargs)
        if call.get("labels") is None or not holds_video(call):
            return None
        call, prompt = self._compress(outer.base_model, call)
        if prompt is not None:
            call["labels"] = call["labels"].masked_fill(~prompt.kept.to(call["labels"].device), -100)
        return (), call

    def _before_inner(
        self, inner: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        call = bound_call(inner, args, kwargs)
        prompt = cached_prompt(call)
        if prompt is not None:
            new = call["input_ids"] if call.get("input_ids") is not None else call["inputs_embeds"]
            return (), continue_call(prompt, call, new.shape[1])
        return ((), self._compress(inner, call)[0]) if holds_video(call) else None

    def _after_inner(self, inner: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        media = kwargs.get("mm_encoder_outputs")
        if isinstance(media, EncodedMedia) and media.prompt is not None:
            return expand_output(output, media.prompt)
        return None

    def _generate(self, call: dict[str, Any]) -> Any:
        prompt = cached_prompt(call)
        if prompt is not None:
            return self._generate_on_cache(prompt, call)
        if not holds_video(call):
            self._report = Report(
                preset=self.config.preset, notes=["No video in the call: the stock path ran."]
            )
            return self._stock("generate")(**without_own_keys(call))
        caller_ids = call.get("input_ids")
        short, prompt = self._compress(self.model.base_model, call)
        if prompt is None or caller_ids is None:
            return self._stock("generate")(**short)
        refuse_unsupported(self.model, call)
        # generate expands features itself, and speaks of the short prompt throughout
        short["mm_encoder_outputs"] = dict(short["mm_encoder_outputs"])
        return self._timed_generate(Translation(caller_ids, prompt.length), short, prompt)

    def _generate_on_cache(self, prompt: PromptMap, call: dict[str, Any]) -> Any:
        refuse_unsupported(self.model, call)
        ids, cache = call["input_ids"], call["past_key_values"]
        whole = ids.shape[1] > prompt.caller_length
        num_cached_later = cache.get_seq_length() - prompt.length
        num_new = ids.shape[1] - prompt.caller_length - num_cached_later if whole else ids.shape[1]
        short = continue_call(prompt, call | {"position_ids": None}, num_new)
        short["position_ids"] = prompt.continued_positions(short["attention_mask"])
        short["input_ids"] = prompt.shorten(ids, 0) if whole else ids
        carry_map(cache, None)
        try:
            return self._timed_generate(Translation(ids, short["input_ids"].shape[1]), short, prompt)
        finally:
            carry_map(cache, prompt)

    def _timed_generate(self, translation: Translation, short: dict[str, Any], prompt: PromptMap) -> Any:
        started = time.perf_counter()
        output = self._stock("generate")(**translation.arguments(self.model, short))
        stage = self._report.stage("generate")
        stage.milliseconds = (time.perf_counter() - started) * 1000
        stage.tokens_in, stage.note = prompt.length, "tokens: prompt, text and video"
        self._report.peak_memory_bytes = _peak_memory_bytes()
        cache = getattr(output, "past_key_values", None)
        if cache is not None:
            carry_map(cache, prompt.repeat(cache.layers[0].keys.shape[0] // len(prompt.mask)))
        return translation.result(output)


def _generate(self: Any, *args: Any, **kwargs: Any) -> Any:
    import torch

    front_end: FrontEnd = vars(self)[_OWNER]
    with torch.no_grad():
        return front_end._generate(named_call(self, args, kwargs))


def _save_pretrained(self: Any, save_directory: str | Path, **options: Any) -> Any:
    front_end: FrontEnd = vars(self)[_OWNER]
    out = front_end._stock("save_pretrained")(save_directory, **options)
    front_end.save_pretrained(save_directory)
    return out


def _peak_memory_bytes() -> int:
    # kilobytes on Linux, bytes on macOS
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def attach_front_end(model: Any, processor: Any, config: FrontEndConfig) -> FrontEnd:
    """Attach a front end to a model and its processor; `framegate.attach` with a configuration already read.

    Args:
        model: a supported model, possibly wrapped by PEFT, torch.compile or data parallelism.
        processor: its processor, or None.
        config: the validated configuration.

    Returns:
        The attached front end.

    Raises:
        UnsupportedModelError: the model's class is in no row of the family table.
        AttachmentError: a front end is attached already, or the processor has no video processor.
        ConfigError: the family cannot do what the configuration asks.
    """
    outer = unwrap(model)
    family = family_of(outer)
    if find_front_end(outer) is not None:
        raise AttachmentError(
            f"{type(outer).__name__} has a front end already; call its detach() before attaching another."
        )
    _check_context(family, config)
    front_end = FrontEnd(outer, family, config)
    if processor is not None:
        front_end.processor = attach_processor(processor, family, config)
    try:
        front_end._put_on()
    except BaseException:
        front_end.detach()
        raise
    return front_end


def _check_context(family: Family, config: FrontEndConfig) -> None:
    if config.context != "anchored" or config.gate is None:
        return
    if family.learned_positions and config.gate.motion == "camera":
        raise ConfigError(
            f"context 'anchored' cannot move keys of {family.model_class}, whose learned position embedding sits "
            "inside them: set motion='none', or context='kept'."
        )


def find_front_end(model: Any) -> FrontEnd | None:
    """Return the front end of a model or of what a wrapper holds, None when there is none."""
    return vars(unwrap(model)).get(_OWNER)
