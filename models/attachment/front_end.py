"""The front end: hooks on one model instance, a replaced video processor, and the report of the last call."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch.utils.hooks import RemovableHandle
from transformers.utils import ModelOutput

from framegate.config import CONFIG_NAME, WEIGHTS_NAME, FrontEndConfig
from framegate.errors import AttachmentError, ConfigError
from framegate.kernels.dispatch import recording
from framegate.models.attachment.attention import TowerAttention, wants_own_attention
from framegate.models.attachment.call import (
    EncodedMedia,
    bound_call,
    cached_prompt,
    compress_call,
    continue_call,
    expand_output,
    holds_video,
    no_video_report,
    with_plain_mask,
    without_own_keys,
)
from framegate.models.attachment.gating import Prepared, prepared_by_processor
from framegate.models.attachment.generation import (
    Translation,
    expand_first_states,
    refuse_unsupported,
)
from framegate.models.attachment.on_model import (
    FRONT_END_NAME,
    METHODS,
    FrontEndModules,
    TowerClock,
    build_modules,
)
from framegate.models.attachment.serving import Attached, Served, scaling_of, served_config
from framegate.models.families import Family, family_of, unwrap
from framegate.models.mechanism import mechanism_of
from framegate.models.prompt import PromptMap, carry_map
from framegate.models.prompt.prompt_map import cache_of
from framegate.models.stages.spatiotemporal.module import SpatiotemporalModule, save_spatiotemporal
from framegate.models.transformers_private import cached_rows
from framegate.models.video_processor import ProcessorAttachment, attach_processor, attached_processor
from framegate.models.video_processor.sources import SHARES
from framegate.per_thread import PerThread
from framegate.report import Report

_OWNER = "_framegate_front_end"
BUDGETS = ("keep_ratio", "tower_ratio", "max_video_tokens")
# all that may be assigned: settings are fixed by `attach`, and one that nothing reads must not look changed
_OWN = ("model", "family", "config", "served", "processor", "modules")


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
        self.served = served_config(config, family)
        self._scaling = family.scaling
        self.processor: ProcessorAttachment | None = None
        # calls of several threads share this object, and nothing of a call
        self._thread = PerThread(report=None, served=None)
        self._clock = TowerClock()
        self._handles: list[RemovableHandle] = []
        self._replaced: dict[str, Any] = {}
        self._attention: TowerAttention | None = None
        self.modules = FrontEndModules({})

    @property
    def _attached(self) -> Attached:
        """The model as a call needs it; made afresh, so that a deep copy speaks of its own model."""
        inner = self.model.base_model
        return Attached(
            inner=inner,
            mechanism=mechanism_of(inner, self.family, self._scaling),
            config=self._serving.config,
            head=self.model.get_output_embeddings(),
            modules=self.modules,
            has_processor=self.processor is not None,
        )

    @property
    def module(self) -> SpatiotemporalModule | None:
        """The trainable spatiotemporal module, None for none."""
        return dict(self.modules.items()).get("spatiotemporal")  # type: ignore[return-value]

    def state_dict(self) -> dict[str, torch.Tensor]:
        """What the front end learned, by stage and parameter; the model's own state dict holds none of it."""
        return dict(self.modules.state_dict())

    @property
    def report(self) -> Report:
        """The account of this thread's last call."""
        report: Report | None = self._thread.report
        return report or Report(preset=self.config.preset, notes=["No call yet."])

    @property
    def _serving(self) -> Served:
        """The configuration in force: what this thread overrode, else what was attached."""
        served: Served | None = self._thread.served
        return served or self.served

    @contextmanager
    def override(self, **shares: float | None) -> Iterator[Self]:
        """Use other budgets for a while, in this thread: model and attached processor follow.

        Args:
            shares: keep_ratio, tower_ratio, max_video_tokens.

        Yields:
            The front end.

        Raises:
            ConfigError: another setting, which is fixed by `attach`, or shares that do not go together.
            BudgetError: a share out of range.
        """
        for name in shares:
            if name not in BUDGETS:
                raise ConfigError(
                    f"override() takes {', '.join(BUDGETS)}, not {name!r}: detach, and attach with {name}=... instead."
                )
        before, reader = (
            self._thread.served,
            None if self.processor is None else self.processor.video_processor,
        )
        read_before = None if reader is None else reader.override.config
        served = served_config(self.config.override(**shares), self.family)
        self._thread.served = served
        if reader is not None:
            reader.override.config = replace(
                served.config.plan,
                shares={
                    name: value for name, value in shares.items() if name in SHARES and value is not None
                },
            )
        try:
            yield self
        finally:
            self._thread.served = before
            if reader is not None:
                reader.override.config = read_before

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and name not in _OWN:
            raise AttributeError(
                f"front_end.{name} = {value!r} would change nothing: use `with front_end.override(...)` for budgets, "
                "or detach and attach with other settings."
            )
        super().__setattr__(name, value)

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
        if hasattr(self.model, FRONT_END_NAME):
            delattr(self.model, FRONT_END_NAME)
        vars(self.model).pop(_OWNER, None)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `front_end_config.json`, and what was learned, into a folder: beside a model's files, or alone."""
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        (path / CONFIG_NAME).write_text(json.dumps(self.config.to_dict(), indent=2) + "\n")
        (path / WEIGHTS_NAME).unlink(missing_ok=True)
        if self.module is not None:
            save_spatiotemporal(self.module, path / WEIGHTS_NAME)

    def __repr__(self) -> str:
        state = "attached" if self.is_attached else "detached"
        return f"FrontEnd({type(self.model).__name__}, preset={self.config.preset!r}, {state})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.detach()

    def _put_on(self) -> None:
        inner, tower = self.model.base_model, self._attached.mechanism.tower
        if wants_own_attention(tower, self.family, self.config):
            self._attention = TowerAttention(tower)
        self._handles = [
            tower.register_forward_pre_hook(self._clock.start),
            tower.register_forward_hook(self._clock.stop),
            inner.register_forward_pre_hook(self._before_inner, with_kwargs=True),
            inner.register_forward_hook(self._after_inner, with_kwargs=True),
            self.model.register_forward_pre_hook(self._before_outer, with_kwargs=True),
        ]
        for name, method in METHODS.items():
            self._replaced[name] = vars(self.model).get(name)
            setattr(self.model, name, method(self))
        # a part of the model while attached: print, optimisers, devices, training mode and copies reach it
        self.model.add_module(FRONT_END_NAME, self.modules)
        setattr(self.model, _OWNER, self)

    def _stock(self, name: str) -> Any:
        """A method as it was before attach, bound to the model."""
        return self._replaced[name] or getattr(type(self.model), name).__get__(self.model)

    def _compress(self, call: dict[str, Any]) -> tuple[dict[str, Any], PromptMap | None]:
        report = Report(preset=self.config.preset)
        self._clock.stage = None
        prepared = prepared_by_processor(call)
        if prepared is not None and self.processor is None:
            self._adopt_processor(prepared)
        attached = self._attached
        shares = _shares_of(prepared)
        if shares:
            attached = replace(attached, config=attached.config.override(**shares))
            report.note(
                f"shares of this call: {', '.join(f'{name} {value:g}' for name, value in shares.items())}"
            )
        elif prepared is not None and any(account.shares for account in prepared.accounts):
            report.note(
                "videos of this call asked for shares of their own; each has its own budget in the prompt"
            )
        for note in self._serving.notes:
            report.note(note)
        if self._scaling.assumed and self._serving.config.gates and prepared is None:
            report.note(
                "no processor and no file of the checkpoint says how pixels were normalised: the own mean and spread "
                f"of {self.family.model_type} assumed"
            )
        with recording() as ran:
            short, prompt = compress_call(attached, call, report, prepared)
        report.kernels = {f"{op}: {path}": count for (op, path), count in sorted(ran.items())}
        report.peak_memory_bytes = _peak_memory_bytes()
        self._thread.report = report
        # where the stock path goes on, it runs the tower itself
        self._clock.stage = report.stage("tower") if prompt is None else None
        return short, prompt

    def _adopt_processor(self, prepared: Prepared) -> None:
        """Find a processor that was attached apart from the model, so that both are taken off together."""
        for account in prepared.accounts:
            found = attached_processor(account.processor)
            if found is not None:
                self.processor = found
                self._scaling = scaling_of(self.model, found.processor, self.family)
                return

    @torch.compiler.disable
    def _before_outer(
        self, outer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """With labels, compress here: those of dropped placeholders must not count."""
        call = self._attached.mechanism.opened(bound_call(outer, args, kwargs))
        if call.get("labels") is None or not holds_video(call):
            return None
        call, prompt = self._compress(call)
        if prompt is not None:
            call |= _kept_labels(call, prompt.kept)
        return (), call

    @torch.compiler.disable
    def _before_inner(
        self, inner: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        call = self._attached.mechanism.opened(bound_call(inner, args, kwargs))
        prompt = cached_prompt(call)
        if prompt is not None:
            new = call["input_ids"] if call.get("input_ids") is not None else call["inputs_embeds"]
            return (), continue_call(prompt, call, new.shape[1])
        if holds_video(call):
            return (), self._compress(call)[0]
        cache = cache_of(call)
        if not call.get("mm_encoder_outputs") and (cache is None or cache.get_seq_length() == 0):
            self._thread.report = no_video_report(self.config)
        return ((), with_plain_mask(call)) if cache is None and call.get("mm_encoder_outputs") else None

    @torch.compiler.disable
    def _after_inner(self, inner: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        media = kwargs.get("mm_encoder_outputs")
        if isinstance(media, EncodedMedia) and media.prompt is not None:
            return expand_output(output, media.prompt)
        return None

    def _generate(self, call: dict[str, Any]) -> Any:
        call = self._attached.mechanism.opened(call)
        prompt = cached_prompt(call)
        if prompt is not None:
            return self._generate_on_cache(prompt, call)
        if not holds_video(call):
            self._thread.report = no_video_report(self.config)
            return self._stock("generate")(**without_own_keys(call))
        caller_ids = call.get("input_ids")
        short, prompt = self._compress(call)
        if prompt is None or caller_ids is None:
            with self._timing_generate(short["input_ids"].shape[1]):
                return self._stock("generate")(**short)
        refuse_unsupported(self.model, call)
        # generate expands features itself, and speaks of the short prompt throughout
        short["mm_encoder_outputs"] = dict(short["mm_encoder_outputs"])
        translation = Translation(caller_ids, prompt.length)
        output = self._timed_generate(translation, short, prompt)
        return translation.result(expand_first_states(output, prompt))

    def _generate_on_cache(self, prompt: PromptMap, call: dict[str, Any]) -> Any:
        refuse_unsupported(self.model, call)
        ids, cache = call["input_ids"], cache_of(call)
        whole = prompt.opens(ids)
        num_cached_later = cache.get_seq_length() - prompt.length
        num_new = ids.shape[1] - prompt.caller_length - num_cached_later if whole else ids.shape[1]
        short = continue_call(prompt, call | {"position_ids": None}, num_new)
        short["position_ids"] = prompt.continued_positions(short["attention_mask"])
        short["input_ids"] = prompt.shorten(ids, 0) if whole else ids
        carry_map(cache, None)
        try:
            translation = Translation(ids, short["input_ids"].shape[1])
            return translation.result(self._timed_generate(translation, short, prompt))
        except BaseException:
            carry_map(cache, prompt)
            raise

    @contextmanager
    def _timing_generate(self, prompt_length: int) -> Iterator[None]:
        started = time.perf_counter()
        yield
        stage = self.report.stage("generate")
        stage.milliseconds = (time.perf_counter() - started) * 1000
        stage.tokens_in, stage.note = prompt_length, "tokens: prompt, text and video"
        self.report.peak_memory_bytes = _peak_memory_bytes()

    def _timed_generate(self, translation: Translation, short: dict[str, Any], prompt: PromptMap) -> Any:
        with self._timing_generate(translation.short_length):
            output = self._stock("generate")(**translation.arguments(self.model, short))
        # the cache is returned in a dict, and is the caller's own where one was passed in
        cache = cache_of(output) if isinstance(output, ModelOutput) else None
        cache = cache_of(short) if cache is None else cache
        if cache is not None:
            carry_map(cache, prompt.repeat(cached_rows(cache) // len(prompt.mask)))
        return output


def _shares_of(prepared: Prepared | None) -> dict[str, float]:
    """What all videos of a call asked for alike; where they differ, each one's budget is looked up by itself."""
    asked = [] if prepared is None else [dict(account.shares) for account in prepared.accounts]
    return asked[0] if asked and all(shares == asked[0] for shares in asked) else {}


def _kept_labels(call: dict[str, Any], kept: torch.Tensor) -> dict[str, torch.Tensor]:
    """Labels without those of dropped placeholders; shift_labels hold the label of the next column."""
    masks = {"labels": kept, "shift_labels": kept.roll(-1, dims=1)}
    given = {name: call[name] for name in masks if call.get(name) is not None}
    return {name: labels.masked_fill(~masks[name].to(labels.device), -100) for name, labels in given.items()}


def _peak_memory_bytes() -> int:
    # kilobytes on Linux, bytes on macOS
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def attach_front_end(
    model: Any, processor: Any, config: FrontEndConfig, *, weights: Path | None = None
) -> FrontEnd:
    """Attach a front end to a model and its processor; `framegate.attach` with a configuration already read.

    Args:
        model: a supported model, possibly wrapped by PEFT, torch.compile or data parallelism.
        processor: its processor, or None.
        config: the validated configuration.
        weights: file of what its spatiotemporal module had learned; None starts it as the identity.

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
    # another tower than its family's is refused before anything is put on
    mechanism_of(outer.base_model, family)
    front_end = FrontEnd(outer, family, config)
    front_end._scaling = scaling_of(outer, processor, family)
    front_end.modules = build_modules(outer, config, weights)
    if processor is not None:
        front_end.processor = attach_processor(processor, family, front_end.served.config.plan)
    try:
        front_end._put_on()
    except BaseException:
        front_end.detach()
        raise
    return front_end


def find_front_end(model: Any) -> FrontEnd | None:
    """Find the front end of a model.

    Args:
        model: the model, or a wrapper that holds it.

    Returns:
        The front end, None when there is none.
    """
    return vars(unwrap(model)).get(_OWNER)
