"""The model's own tower as an encoder: nothing more to load."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from framegate.errors import UnsupportedModelError
from framegate.types import UInt8Array


class OwnTower:
    """Frames as a video LVLM's tower and projector see them as pictures, averaged; texts as its word embeddings.

    Both are as wide as the language model, which is all that they have in common: the model never learned to compare
    them. What needs no query compares frames with each other: framegate.tokenizers.relevance.BetweenFrames around this.

    Args:
        model: a supported model, stock or attached.
        processor: the model's own.

    Raises:
        UnsupportedModelError: a model without `get_image_features`, or a processor without an image processor.
    """

    def __init__(self, model: Any, processor: Any) -> None:
        inner: Any = getattr(model, "model", None)
        # the outer method of some models leaves out arguments that the inner one needs
        self.tower: Any = inner if hasattr(inner, "get_image_features") else model
        for owner, name in ((self.tower, "get_image_features"), (processor, "image_processor")):
            if not hasattr(owner, name):
                raise UnsupportedModelError(
                    f"{type(owner).__name__} has no {name}: give a video LVLM of framegate.supported_models() with its "
                    "processor."
                )
        self.model, self.processor = model, processor

    def encode_frames(self, frames: UInt8Array) -> Tensor:
        """Encode a batch of frames.

        Args:
            frames: uint8 [F, h, w, 3] RGB.

        Returns:
            float32 [F, D], the mean of each frame's tokens.
        """
        inputs = self.processor.image_processor(images=list(frames), return_tensors="pt")
        placed = inputs.to(device=self.model.device, dtype=self.model.dtype)
        known = inspect.signature(self.tower.get_image_features).parameters
        with torch.inference_mode():
            output = self.tower.get_image_features(**{name: placed[name] for name in placed if name in known})
        tokens = [part.reshape(-1, part.shape[-1]) for part in getattr(output, "pooler_output", output)]
        # frames of one size have as many tokens each, in however many tiles or parts they come
        of_frames = torch.cat(tokens).float().unflatten(0, (len(frames), -1))  # [F*n, D] -> [F, n, D]
        return of_frames.mean(1)

    def encode_text(self, text: str) -> Tensor:
        """Average the embeddings of a text's words.

        Args:
            text: the question.

        Returns:
            float32 [D].
        """
        ids = self.processor.tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids[0]
        with torch.inference_mode():
            return self.model.get_input_embeddings()(ids.to(self.model.device)).float().mean(0)
