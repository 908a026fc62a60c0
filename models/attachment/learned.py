"""What a front end learned: the module that learns, its values wherever they are kept, and its file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from framegate.config import CONFIG_NAME, WEIGHTS_NAME, FrontEndConfig
from framegate.models.stages.spatiotemporal import SPATIOTEMPORAL_NAME
from framegate.models.stages.spatiotemporal.module import (
    SpatiotemporalModule,
    load_spatiotemporal,
    save_spatiotemporal,
)


def module_that_learns(modules: torch.nn.ModuleDict) -> SpatiotemporalModule | None:
    """Find the spatiotemporal module among a front end's modules, None for none.

    PEFT, told to train it (modules_to_save), wraps it and trains a copy for each adapter.
    """
    found: Any = dict(modules.items()).get(SPATIOTEMPORAL_NAME)
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
    state = module.state_dict()
    if any(value.is_meta for value in state.values()):
        from accelerate.utils.modeling import get_state_dict_offloaded_model

        # it knows a module's values by their names under another
        around = torch.nn.ModuleDict({SPATIOTEMPORAL_NAME: module})
        return dict(get_state_dict_offloaded_model(around))
    return {f"{SPATIOTEMPORAL_NAME}.{name}": _whole(value) for name, value in state.items()}


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
    save_spatiotemporal({name.partition(".")[2]: value for name, value in values.items()}, part)
    part.replace(path)


def put_back(module: SpatiotemporalModule, folder: Path) -> None:
    """Put what a folder holds into a module, in place, so that optimisers still know its parameters.

    Raises:
        ConfigError: weights that are missing or do not fit.
    """
    saved = load_spatiotemporal(folder / WEIGHTS_NAME, module.width, module.config).state_dict()
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
