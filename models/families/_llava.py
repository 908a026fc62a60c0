"""What LLaVA's families share: which layers they read, and their pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from framegate.models.towers.grid_geometry import MediaFeatures
from framegate.models.towers.offloaded import loaded


def layers_of(inner: Any, call: dict[str, Any]) -> int | Sequence[int]:
    """Hidden states that the model reads: the call's own, else those of its configuration."""
    layers: int | Sequence[int] | None = call.get("vision_feature_layer")
    return inner.config.vision_feature_layer if layers is None else layers


def picture_media(inner: Any, pixels: Tensor | None, given: dict[str, Any]) -> dict[str, Any]:
    """The model's own features of pictures, by "image"; empty without any."""
    if pixels is None:
        return {}
    with loaded(inner):
        images = inner.get_image_features(pixels, return_dict=True, **given)
    # the tower's own states go back in the model's output, where they would be taken for the prompt's
    return {"image": MediaFeatures(pooler_output=images.pooler_output)}
