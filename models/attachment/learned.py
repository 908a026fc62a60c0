"""What a front end learns: the spatiotemporal module, made for a model or read back, a part of it while attached."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from framegate.config import FrontEndConfig
from framegate.models.spatiotemporal.module import SpatiotemporalModule
from framegate.models.spatiotemporal.weights import load_spatiotemporal

LEARNED_NAME = "framegate_spatiotemporal"


def spatiotemporal_module(
    model: Any, config: FrontEndConfig, weights: Path | None
) -> SpatiotemporalModule | None:
    """Build the trainable residual of a configuration, of the model's width, on its device.

    Raises:
        ConfigError: the weights are of another width.
    """
    if config.spatiotemporal is None:
        return None
    width = int(model.config.get_text_config().hidden_size)
    # attaching draws no numbers from the caller's generator
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = (
            SpatiotemporalModule(width, config.spatiotemporal)
            if weights is None
            else load_spatiotemporal(weights, width, config.spatiotemporal)
        )
    embeddings = model.get_input_embeddings().weight
    dtype = embeddings.dtype if embeddings.is_floating_point() else None
    return module.to(embeddings.device, dtype).train(model.training)


@contextmanager
def without_learned(model: Any, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Take the module off a model while its stock files are written; the options given have a stock state_dict."""
    learned = model._modules.pop(LEARNED_NAME, None)
    state = options.get("state_dict")
    if state is not None:
        stock = {name: value for name, value in state.items() if not name.startswith(f"{LEARNED_NAME}.")}
        options = options | {"state_dict": stock}
    try:
        yield options
    finally:
        if learned is not None:
            model.add_module(LEARNED_NAME, learned)
