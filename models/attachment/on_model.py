"""What stands on a model's instance while a front end is attached: its stages, two methods, and the tower's clock."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from framegate.config import FrontEndConfig
from framegate.models.attachment.generation import named_call
from framegate.models.stages.registry import stages
from framegate.models.stages.spatiotemporal.module import load_spatiotemporal
from framegate.per_thread import PerThread
from framegate.report import StageReport

# under this name, and so this prefix, on the model
FRONT_END_NAME = "framegate_front_end"


class FrontEndModules(nn.ModuleDict):
    """The stages of one front end, in the order in which they run.

    A model that holds them has stock keys alone in its `state_dict()`: what a front end learned is in
    `front_end.state_dict()` and in its own file.
    """

    def __init__(self, modules: dict[str, nn.Module]) -> None:
        super().__init__(modules)
        self.register_load_state_dict_post_hook(_forgive_missing)

    def state_dict(self, *args: Any, destination: Any = None, **options: Any) -> Any:
        """Give what was learned when asked itself; add nothing when the model that holds it is asked."""
        if args or destination is not None:
            return args[0] if args else destination
        return super().state_dict(**options)


def _forgive_missing(module: nn.Module, incompatible: Any) -> None:
    """A stock state dict lacks a front end's keys, as it should."""
    own = [key for key in incompatible.missing_keys if FRONT_END_NAME in key.split(".")]
    for key in own:
        incompatible.missing_keys.remove(key)


def build_modules(model: Any, config: FrontEndConfig, weights: Path | None = None) -> FrontEndModules:
    """Make the stages that a configuration switches on, of the model's width, on its device.

    Args:
        model: the model.
        config: the front end's configuration.
        weights: file of what its spatiotemporal module had learned; None starts it as the identity.

    Returns:
        The modules, in order: refill where the gate refills, what the configuration names, and the exact reduction
        where something reduces.

    Raises:
        ConfigError: the weights are of another width.
    """
    width = int(model.config.get_text_config().hidden_size)
    switched_on = {
        "refill": config.gate is not None and config.gate.refill,
        # selection meets a budget by itself
        "reduction": config.select is None and (config.gate is not None or config.reduces_after_tower),
    }
    modules: dict[str, nn.Module] = {}
    # attaching draws no numbers from the caller's generator
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for name, spec in stages().items():
            settings = getattr(config, name, None)
            if switched_on.get(name, settings is not None):
                modules[name] = spec.build(settings, width)
    if weights is not None and config.spatiotemporal is not None:
        modules["spatiotemporal"] = load_spatiotemporal(weights, width, config.spatiotemporal)
    embeddings = model.get_input_embeddings().weight
    dtype = embeddings.dtype if embeddings.is_floating_point() else None
    return FrontEndModules(modules).to(embeddings.device, dtype).train(model.training)


def running(modules: FrontEndModules, config: FrontEndConfig) -> dict[str, nn.Module]:
    """Say which stages run under a configuration: all, or those that reduce nothing where nothing is to be reduced."""
    known = stages()
    return {
        name: module
        for name, module in modules.items()
        if not (known[name].reduces and config.is_identity) and not (name == "refill" and not config.refills)
    }


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
        out = self.front_end._stock("save_pretrained")(save_directory, *args, **options)
        if options.get("is_main_process", args[0] if args else True):
            self.front_end.save_pretrained(save_directory)
        return out


METHODS: dict[str, type[Method]] = {"generate": Generate, "save_pretrained": SavePretrained}


class TowerClock:
    """Adds the time between its two hooks to a stage; images that go through the same tower count as well."""

    def __init__(self) -> None:
        self._thread = PerThread(stage=None, started=0.0)

    @property
    def stage(self) -> StageReport | None:
        """Where this thread's time goes, None for nowhere."""
        found: StageReport | None = self._thread.stage
        return found

    @stage.setter
    def stage(self, stage: StageReport | None) -> None:
        self._thread.stage = stage

    @torch.compiler.disable
    def start(self, tower: Any, args: Any) -> None:
        """Stand before the tower."""
        self._thread.started = time.perf_counter()

    @torch.compiler.disable
    def stop(self, tower: Any, args: Any, output: Any) -> None:
        """Stand behind it."""
        if self.stage is not None:
            elapsed_ms = (time.perf_counter() - self._thread.started) * 1000
            self.stage.milliseconds = (self.stage.milliseconds or 0.0) + elapsed_ms
