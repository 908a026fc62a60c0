"""The front end: hooks on one model instance, a replaced video processor, and the report of the last call.

A hook opens a call, or closes one; what a call is stands in `opening.py`, `call.py` and `video_call.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch.utils.hooks import RemovableHandle

from framegate.config import FrontEndConfig
from framegate.errors import ConfigError
from framegate.models.attachment.attention import TowerAttention, wants_own_attention
from framegate.models.attachment.call import Call, Encoding
from framegate.models.attachment.generation import generate
from framegate.models.attachment.keywords import (
    head_reads_prompt,
    kept_labels,
    named_forward,
    with_plain_mask,
)
from framegate.models.attachment.learned import learned_values, module_that_learns, write_learned
from framegate.models.attachment.on_model import (
    FRONT_END_NAME,
    INTERLEAVER_NAME,
    METHODS,
    FrontEndModules,
    Loss,
    changes_tokens,
    is_wrapped_by_peft,
    outside_graphs,
)
from framegate.models.attachment.opening import LACKS_VIDEO, open_call, processor_of
from framegate.models.attachment.serving import Attached, check_served, class_notes_of, scaling_of
from framegate.models.attachment.video_call import VideoCall
from framegate.models.family import Family
from framegate.models.feature_store import FeatureStore
from framegate.models.mechanism import mechanism_of
from framegate.models.transformers_private import LOSS_NAME
from framegate.models.video_processor import ProcessorAttachment
from framegate.models.video_processor.sources import SHARES
from framegate.per_thread import PerThread
from framegate.report import Report

OWNER = "_framegate_front_end"
BUDGETS = ("keep_ratio", "tower_ratio", "max_video_tokens")
# all that may be assigned: settings are fixed by `attach`, and one that nothing reads must not look changed
_OWN = ("model", "family", "config", "processor", "modules")


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
        check_served(config, family)
        self.config = config
        self._scaling = family.scaling
        self.processor: ProcessorAttachment | None = None
        # calls of several threads share this object, and nothing of a call
        self._thread = PerThread(
            report=None, config=None, forward=None, generating=None, kept=None, lacks_video=None, store=None
        )
        self._handles: list[RemovableHandle] = []
        self._replaced: dict[str, Any] = {}
        self._attention: TowerAttention | None = None
        self.modules = FrontEndModules({})
        # plain attributes, which compiled graphs are guarded by
        self._changes_nothing, self._overrides = False, 0

    @property
    def _attached(self) -> Attached:
        """The model as a call needs it; made afresh, so that a deep copy speaks of its own model."""
        inner, processor = self.model.base_model, self.processor and self.processor.processor
        return Attached(
            inner=inner,
            mechanism=mechanism_of(inner, self.family, self._scaling),
            config=self._config_in_force,
            head=self.model.get_output_embeddings(),
            modules=self.modules,
            has_processor=self.processor is not None,
            has_adapter=is_wrapped_by_peft(self.model),
            class_notes=class_notes_of(self.model, processor, self.family),
            store=self._thread.store,
        )

    @property
    def module(self) -> torch.nn.Module | None:
        """The module of the stage that learns, None for none."""
        return module_that_learns(self.modules)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """What the front end learned, by stage and parameter; under its prefix a part of the model's own state dict."""
        return learned_values(self.modules)

    @property
    def report(self) -> Report:
        """The account of this thread's last call."""
        report, lacks_video = self._last_report, self._thread.lacks_video
        # on a device the answer is waited for here, where somebody asks, and not within the call
        if lacks_video is not None and lacks_video:
            report.note(LACKS_VIDEO)
        return report

    @property
    def _last_report(self) -> Report:
        report: Report | None = self._thread.report
        return report or Report(preset=self.config.preset, notes=["No call yet."])

    @property
    def _config_in_force(self) -> FrontEndConfig:
        """What this thread overrode, else what was attached."""
        overridden: FrontEndConfig | None = self._thread.config
        return overridden or self.config

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
        before = self._thread.config
        reader = None if self.processor is None else self.processor.video_processor
        read_before = None if reader is None else reader.override.config
        config = self.config.override(**shares)
        check_served(config, self.family)
        self._thread.config = config
        self._overrides += 1
        if reader is not None:
            reader.override.config = replace(
                config.plan,
                shares={
                    name: value for name, value in shares.items() if name in SHARES and value is not None
                },
            )
        try:
            yield self
        finally:
            self._thread.config = before
            self._overrides -= 1
            if reader is not None:
                reader.override.config = read_before

    @contextmanager
    def remember(
        self, store: FeatureStore | None = None, *, max_bytes: int = 1 << 30
    ) -> Iterator[FeatureStore]:
        """Encode every tube once for a while, in this thread: calls that show one again take its features.

        For conversations in which a video comes back, whole or in parts. The features are those of the tower to the
        last bits; gradients are never asked of what is remembered.

        Args:
            store: what another block remembered, to go on with; None for an empty one.
            max_bytes: most bytes of features that an empty one holds, on the model's device.

        Yields:
            The store.

        Raises:
            ConfigError: max_bytes below 1.
        """
        before, self._thread.store = self._thread.store, FeatureStore(max_bytes) if store is None else store
        try:
            yield self._thread.store
        finally:
            self._thread.store = before

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and name not in _OWN:
            raise AttributeError(
                f"front_end.{name} = {value!r} would change nothing: use `with front_end.override(...)` for budgets, "
                "or detach and attach with other settings."
            )
        super().__setattr__(name, value)

    def encode(self, **inputs: Any) -> Encoding:
        """Run tower and stages alone, for a language model that reads their tokens later or elsewhere.

        Args:
            inputs: what the processor gave, as for `generate`.

        Returns:
            The shorter prompt and its tokens.

        Raises:
            AttachmentError, BudgetError, PlaceholderError: as `generate`.
        """
        call = self._open(inputs, generating=True)
        short = call.for_generate(self.model)
        self._account(call)
        return Encoding(short, call.tokens)

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
        vars(self.model).pop(OWNER, None)

    def save_pretrained(self, folder: str | Path, *, is_main_process: bool = True) -> None:
        """Write `front_end_config.json`, and what was learned, into a folder: beside a model's files, or alone.

        Args:
            folder: made when it is not there.
            is_main_process: write. Where parameters are sharded every process has to call, and one of them writes.
        """
        values = self.state_dict()
        if is_main_process:
            write_learned(values, self.config, Path(folder))

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
        self._changes_nothing = (
            self.config.is_identity
            and self.config.timestamps is None
            and not changes_tokens(self.modules, self.config)
        )
        if wants_own_attention(tower, self.family, self.config):
            self._attention = TowerAttention(tower)
        self._handles = [
            tower.register_forward_pre_hook(self._before_tower),
            tower.register_forward_hook(self._after_tower),
            inner.register_forward_pre_hook(self._before_inner, with_kwargs=True),
            # always: a call ends with its forward, whether that returns or raises
            inner.register_forward_hook(self._after_inner, always_call=True),
            self.model.register_forward_pre_hook(self._before_outer, with_kwargs=True),
            self.model.register_forward_hook(self._after_outer, always_call=True),
        ]
        for name, method in METHODS.items():
            self._replaced[name] = vars(self.model).get(name)
            setattr(self.model, name, method(self))
        self._replaced[LOSS_NAME] = vars(self.model).get(LOSS_NAME)
        setattr(self.model, LOSS_NAME, Loss(self, self.model.loss_function))
        # a part of the model while attached: print, optimisers, devices, training mode and copies reach it
        self.model.add_module(FRONT_END_NAME, self.modules)
        setattr(self.model, OWNER, self)

    def _stock(self, name: str) -> Any:
        """A method as it was before attach, bound to the model."""
        return self._replaced[name] or getattr(type(self.model), name).__get__(self.model)

    def _open(self, named: dict[str, Any], *, generating: bool = False) -> Call:
        call = open_call(self._attached, named, self._last_report, generating=generating)
        apart = None if self.processor is not None else processor_of(call)
        if apart is None:
            return call
        # it says how its pixels were scaled, and both are taken off together
        self._take(apart)
        return open_call(self._attached, named, self._last_report, generating=generating)

    def _take(self, processor: ProcessorAttachment) -> None:
        """Read what an attached processor says of pixels, and show what it writes times with."""
        self.processor = processor
        self._scaling = scaling_of(self.model, processor.processor, self.family)
        interleaver = processor.video_processor.interleaver
        if interleaver is not None:
            self.modules[INTERLEAVER_NAME] = interleaver.train(self.model.training)

    def _started(self, call: Call) -> dict[str, Any]:
        """Begin the forward of a call, which is this thread's until the stock model has returned."""
        short = call.forward()
        if call.report is not None:
            self._account(call)
        self._thread.forward, self._thread.kept = call, None
        return short

    def _account(self, call: Call) -> None:
        """Make a call's report this thread's."""
        self._thread.report, self._thread.lacks_video = call.report, call.lacks_video

    @property
    def _running(self) -> Call | None:
        """This thread's call, None between calls."""
        running: Call | None = self._thread.forward or self._thread.generating
        return running

    @outside_graphs
    def _before_outer(
        self, outer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Where the head reads the prompt too, open the call here: dropped placeholders must not count."""
        named = named_forward(outer, args, kwargs)
        if not head_reads_prompt(outer, named):
            return None
        call = self._open(named)
        return ((), self._started(call)) if isinstance(call, VideoCall) else None

    @outside_graphs
    def _before_inner(
        self, inner: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        named, running = named_forward(inner, args, kwargs), self._running
        if running is not None and running.covers(named):
            return (), with_plain_mask(running.with_kinds(named))
        call = self._open(named)
        return (), call.with_kinds(self._started(call))

    @outside_graphs
    def _after_inner(self, inner: Any, args: Any, output: Any) -> Any:
        call, self._thread.forward = self._thread.forward, None
        if call is None:
            return output
        self._thread.kept = call.kept
        return call.close(output)

    @outside_graphs
    def _after_outer(self, outer: Any, args: Any, output: Any) -> None:
        """Forget a call whose inner model was never reached."""
        self._thread.forward = None

    @outside_graphs
    def _counted(self, named: dict[str, Any]) -> dict[str, Any] | None:
        """Labels as they count for this thread's last prompt; None where all do."""
        kept = self._thread.kept
        return None if kept is None else kept_labels(named, kept)

    @outside_graphs
    def _before_tower(self, tower: Any, args: Any) -> None:
        if self._running is not None:
            self._running.tower_starts()

    @outside_graphs
    def _after_tower(self, tower: Any, args: Any, output: Any) -> None:
        if self._running is not None:
            self._running.tower_ends()

    def _generate(self, named: dict[str, Any]) -> Any:
        call = self._open(named, generating=True)
        short = call.for_generate(self.model)
        self._account(call)
        before, self._thread.generating = self._thread.generating, call
        try:
            return generate(call, short, self.model, self._stock("generate"))
        finally:
            self._thread.generating = before
