"""What stands on a model's instance while a front end is attached: its modules, two methods, and its loss."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from torch import nn

from framegate.config import FrontEndConfig
from framegate.models.attachment.generation import named_call
from framegate.models.gated_residual_tokenizer import GatedResidualTokenizer
from framegate.models.stages.registry import learning, stages
from framegate.tokenizers.gate.packing import PLAN_KEY

# under this name, and so this prefix, on the model
FRONT_END_NAME = "framegate_front_end"
# among a front end's modules: what runs the tower before the stages, and what writes the times behind them
TOKENIZER_NAME = "gated_residual_tokenizer"
INTERLEAVER_NAME = "timestamp_interleaver"


class FrontEndModules(nn.ModuleDict):
    """The modules of one front end, in the order in which they work: tokenizer, stages, and what writes times.

    What a front end learned is a part of the model's `state_dict()`, so that whatever keeps a training's state keeps it
    too; the model's stock files are written without it.
    """

    def __init__(self, modules: dict[str, nn.Module]) -> None:
        super().__init__(modules)
        # whoever trains has seen to it that what was learned is written beside an adapter
        self.is_kept_beside = False
        self._left_out = 0
        self.register_load_state_dict_post_hook(_tell_missing)

    def state_dict(self, *args: Any, destination: Any = None, **options: Any) -> Any:
        """Give what was learned, by stage and parameter; nothing within `left_out`."""
        if self._left_out and destination is not None:
            return destination
        return super().state_dict(*args, destination=destination, **options)

    @contextmanager
    def left_out(self) -> Iterator[None]:
        """Let the state dict of the model that holds these modules be the stock model's for a while."""
        self._left_out += 1
        try:
            yield
        finally:
            self._left_out -= 1


def without_front_end(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """What of a model's state dict is the stock model's."""
    return {key: value for key, value in state_dict.items() if FRONT_END_NAME not in key.split(".")}


NOT_RESTORED = (
    "The weights that were loaded hold nothing of the front end, which stays as it is. Where it had learned something, "
    "framegate.tools.training.restore_front_end(front_end, checkpoint) puts that back; FrontEndCallback does so where "
    "a trainer resumes."
)


def _tell_missing(module: nn.Module, incompatible: Any) -> None:
    """A stock state dict lacks a front end's keys, as it should; what that leaves undone is told."""
    own = [key for key in incompatible.missing_keys if FRONT_END_NAME in key.split(".")]
    for key in own:
        incompatible.missing_keys.remove(key)
    # PEFT loads an adapter alone: of the model nearly all is missing then, and nothing stands there in its place
    is_whole = len(incompatible.missing_keys) <= len(incompatible.unexpected_keys)
    if own and is_whole:
        warnings.warn(NOT_RESTORED, stacklevel=2)


def is_wrapped_by_peft(model: Any) -> bool:
    """True for a model in a wrapper of PEFT, whose `save_pretrained` is not the model's; `add_adapter` makes none."""
    return hasattr(model, "peft_config") and not getattr(model, "_hf_peft_config_loaded", False)


def switched_on(config: FrontEndConfig) -> list[str]:
    """Say which stages a configuration switches on, in the order in which they run."""
    rules = {
        "refill": config.gate is not None and config.gate.refill,
        # selection meets a budget by itself
        "reduction": config.select is None and (config.gate is not None or config.reduces_after_tower),
    }
    return [name for name in stages() if rules.get(name, getattr(config, name, None) is not None)]


def build_modules(
    model: Any, tower: Any, config: FrontEndConfig, weights: Path | None = None
) -> FrontEndModules:
    """Make the tokenizer and the stages that a configuration switches on, of the model's width, on its device.

    Args:
        model: the model.
        tower: its vision tower, which stays its own.
        config: the front end's configuration.
        weights: file of what its stage that learns had learned; None starts it anew.

    Returns:
        The modules, in order: the tokenizer, refill where the gate refills, what the configuration names, and the exact
        reduction where something reduces.

    Raises:
        ConfigError: the weights are of another width.
    """
    width = int(model.config.get_text_config().hidden_size)
    # refill is a stage here, which an override of the budget can switch off
    tokenizer = GatedResidualTokenizer(tower, refill=False, owns_tower=False, backend=config.backend)
    modules: dict[str, nn.Module] = {TOKENIZER_NAME: tokenizer}
    # attaching draws no numbers from the caller's generator
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for name in switched_on(config):
            spec, settings = stages()[name], getattr(config, name, None)
            if weights is not None and name in learning():
                modules[name] = spec.load(weights, settings, width)
            else:
                modules[name] = spec.build(settings, width)
    embeddings = model.get_input_embeddings().weight
    dtype = embeddings.dtype if embeddings.is_floating_point() else None
    # weights that accelerate keeps elsewhere are on no device; what is attached stays where it was made
    device = None if embeddings.is_meta else embeddings.device
    return FrontEndModules(modules).to(device, dtype).train(model.training)


def running(modules: FrontEndModules, config: FrontEndConfig) -> dict[str, nn.Module]:
    """Say which stages run under a configuration: all, or those that reduce nothing where nothing is to be reduced."""
    known = stages()
    return {
        name: module
        for name, module in modules.items()
        if name in known
        and not (known[name].reduces and config.is_identity)
        and not (name == "refill" and not config.refills)
    }


def changes_tokens(modules: FrontEndModules, config: FrontEndConfig) -> bool:
    """True when a stage has something to do even where every cell was kept."""
    return bool(set(running(modules, config)) - {"refill", "reduction"})


def outside_graphs(hook: Callable[..., Any]) -> Callable[..., Any]:
    """Run a hook outside of compiled graphs; a front end that changes nothing takes no part in one, nor breaks it."""
    outside = torch.compiler.disable(hook)

    @wraps(hook)
    def run(self: Any, *args: Any) -> Any:
        aside = self._changes_nothing and not self._overrides and torch.compiler.is_compiling()
        # cells that another configuration left out have to be put in their places all the same
        if aside and not any(isinstance(part, dict) and PLAN_KEY in part for part in args):
            return None
        return outside(self, *args)

    return run


@dataclass(frozen=True)
class Method:
    """Stands in for a method of one model; a plain object, so that copies and pickles of the model keep it.

    Args:
        front_end: the front end attached to the model.
    """

    front_end: Any


class Generate(Method):
    """`generate` on the shorter prompt, in the caller's ids."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Generate."""
        with torch.no_grad():
            return self.front_end._generate(named_call(self.front_end.model, args, kwargs))


class SavePretrained(Method):
    """`save_pretrained` of the stock files, and of the front end beside them."""

    def __call__(self, save_directory: str | Path, *args: Any, **options: Any) -> Any:
        """Save."""
        stock = self.front_end._stock("save_pretrained")
        names = list(inspect.signature(stock).parameters)[1:]
        named = dict(zip(names, args, strict=False)) | options
        # of adapters on the model itself PEFT picks what it saves, a copy of ours among it if it was told to
        picks = getattr(self.front_end.model, "_hf_peft_config_loaded", False)
        if named.get("state_dict") is not None and not picks:
            named["state_dict"] = without_front_end(named["state_dict"])
        with nullcontext() if picks else self.front_end.modules.left_out():
            out = stock(save_directory, **named)
        self.front_end.save_pretrained(save_directory, is_main_process=named.get("is_main_process", True))
        return out


@dataclass(frozen=True)
class Loss(Method):
    """The loss over what the language model read: labels of what was left out of the last prompt do not count.

    A hook of the model sees to that where the model is called; `model.forward` called by itself runs no hook.

    Args:
        stock: the loss as it was.
    """

    stock: Any

    def __call__(self, logits: Any, labels: Any, *args: Any, **kwargs: Any) -> Any:
        """Compute the loss."""
        given = {"labels": labels, "shift_labels": kwargs.get("shift_labels")}
        counted = self.front_end._counted(given) or {}
        labels = counted.pop("labels", labels)
        return self.stock(logits, labels, *args, **kwargs | counted)


METHODS: dict[str, type[Method]] = {"generate": Generate, "save_pretrained": SavePretrained}
