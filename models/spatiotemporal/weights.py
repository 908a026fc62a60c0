"""Weights of the spatiotemporal module in a safetensors file."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from framegate.errors import ConfigError
from framegate.models.spatiotemporal.config import SpatiotemporalConfig
from framegate.models.spatiotemporal.module import SpatiotemporalModule


def save_spatiotemporal(module: SpatiotemporalModule, path: str | Path) -> None:
    """Write the weights of a module.

    Args:
        module: the module.
        path: file to write.

    Source: ours.
    """
    weights = {name: weight.detach().cpu().contiguous() for name, weight in module.state_dict().items()}
    save_file(weights, path, metadata={"format": "pt"})


def load_spatiotemporal(path: str | Path, width: int, config: SpatiotemporalConfig) -> SpatiotemporalModule:
    """Read a module back from the weights that `save_spatiotemporal` wrote.

    Args:
        path: the safetensors file.
        width: features of a token of the model that it is for.
        config: the settings with which the weights were made.

    Returns:
        The module, on the CPU, in the weights' dtype.

    Raises:
        ConfigError: no such file, one that holds no such weights, weights of another width, or another max_side.

    Source: ours.
    """
    module = SpatiotemporalModule(width, config)
    try:
        weights = load_file(path)
    except (FileNotFoundError, SafetensorError) as error:
        raise ConfigError(
            f"The spatiotemporal module's weights {str(path)!r} cannot be read: {error}"
        ) from error
    wanted = module.state_dict()
    if weights.keys() != wanted.keys():
        raise ConfigError(
            f"{str(path)!r} holds {sorted(weights)}; the spatiotemporal module's weights are {sorted(wanted)}."
        )
    max_side, found = weights["rows"].shape
    if found != width:
        raise ConfigError(
            f"{str(path)!r} holds weights of another width: they were trained for {found} features per token, and this "
            f"model has {width}. Use the model that they were trained on, or train them anew."
        )
    if max_side != config.max_side:
        raise ConfigError(
            f"spatiotemporal.max_side is {config.max_side} and {str(path)!r} was made with {max_side}: "
            f"set max_side={max_side}."
        )
    module.load_state_dict(weights)
    return module.to(weights["rows"].dtype)
