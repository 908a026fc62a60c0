"""What a front end learned: the module that learns, its values wherever they are kept, and its file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from framegate.config import CONFIG_NAME, WEIGHTS_NAME, FrontEndConfig
from framegate.models.stages.registry import learning, stages


def module_that_learns(modules: torch.nn.ModuleDict) -> torch.nn.Module | None:
    """Find the module that learns among a front end's modules, None for none; a configuration allows one.

    PEFT, told to train it (modules_to_save), wraps it and trains a copy for each adapter.
    """
    found: Any = dict(modules.items()).get(_name_of(modules))
    copies = getattr(found, "modules_to_save", None)
    if copies is None:
        return found  # type: ignore[no-any-return]
    active = [name for name in found.active_adapters if name in copies]
    return copies[active[0]] if active else found.original_module  # type: ignore[no-any-return]


def learned_values(modules: torch.nn.ModuleDict) -> dict[str, torch.Tensor]:
    """Give the values of what learned, by stage and parameter.

    Values that accelerate offloaded are fetched. Sharded ones (FSDP2) are gathered, for which every process has to ask.
    """
    module = module_that_learns(modules)
    if module is None:
        return {}
    state, name = module.state_dict(), _name_of(modules)
    if any(value.is_meta for value in state.values()):
        from accelerate.utils.modeling import get_state_dict_offloaded_model

        # it knows a module's values by their names under another
        around = torch.nn.ModuleDict({name: module})
        return dict(get_state_dict_offloaded_model(around))
    return {f"{name}.{key}": _whole(value) for key, value in state.items()}


def _name_of(modules: torch.nn.ModuleDict) -> str:
    """Name of the stage that learns, "" for none."""
    return next((name for name in learning() if name in modules), "")


def write_learned(values: dict[str, torch.Tensor], config: FrontEndConfig, folder: Path) -> None:
    """Write a configuration, and beside it what was learned, into a folder; old weights stay until new ones are there.

    Args:
        values: as `learned_values` gives them.
        config: the front end's.
        folder: made when it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_NAME).write_text(json.dumps(config.to_dict(), indent=2) + "\n")
    path = folder / WEIGHTS_NAME
    if not values:
        path.unlink(missing_ok=True)
        return
    part = path.with_suffix(".part")
    weights = {name.partition(".")[2]: value.detach().cpu().contiguous() for name, value in values.items()}
    save_file(weights, part, metadata={"format": "pt"})
    part.replace(path)


def put_back(modules: torch.nn.ModuleDict, folder: Path) -> None:
    """Put what a folder holds into the module that learns, in place, so that optimisers still know its parameters.

    Without such a module nothing is done.

    Raises:
        ConfigError: weights that are missing or do not fit.
    """
    module: Any = module_that_learns(modules)
    if module is None:
        return
    spec = stages()[_name_of(modules)]
    saved = spec.load(folder / WEIGHTS_NAME, module.config, module.width).state_dict()
    with torch.no_grad():
        for name, weight in module.named_parameters():
            weight.copy_(_as_kept(saved[name], weight))


def _whole(value: torch.Tensor) -> torch.Tensor:
    """A value of all its shards."""
    gather = getattr(value, "full_tensor", None)
    return value if gather is None else gather()


def _as_kept(value: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """A value cut as a parameter is, where that is sharded."""
    mesh = getattr(weight, "device_mesh", None)
    if mesh is None:
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(weight.device, weight.dtype), mesh, weight.placements)  # type: ignore[attr-defined]
