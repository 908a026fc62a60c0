"""What a front end learns: the spatiotemporal module, made for a model or read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from framegate.config import FrontEndConfig
from framegate.models.spatiotemporal.module import SpatiotemporalModule
from framegate.models.spatiotemporal.weights import load_spatiotemporal


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
    module = (
        SpatiotemporalModule(width, config.spatiotemporal)
        if weights is None
        else load_spatiotemporal(weights, width, config.spatiotemporal)
    )
    embeddings = model.get_input_embeddings().weight
    return module.to(embeddings.device, embeddings.dtype if embeddings.is_floating_point() else None)
