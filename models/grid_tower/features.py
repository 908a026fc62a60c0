"""Features of media of unlike length in the shape that a model with rows of equal length reads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling


class MediaRows(list[Tensor]):
    """Features of each video or image, [K_i, D]; flattens as the stock tensor [V, K, D] does.

    generate repeats and slices features per medium where they are a list, and the model flattens them: a list that
    flattens serves both, where a tensor of unlike rows cannot be made.
    """

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """All rows, [K, D], whatever dimensions the caller names."""
        return torch.cat(list(self))


class MediaFeatures(BaseModelOutputWithPooling):  # type: ignore[misc]
    """What takes the place of the output of `get_video_features`; a list given as pooler_output flattens."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "pooler_output" and isinstance(value, Iterable) and not isinstance(value, Tensor):
            value = MediaRows(value)
        super().__setattr__(name, value)
