"""Image-text models of transformers (CLIP, SigLIP and kin) as encoders, and towers of timm, which read no text."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from framegate.errors import UnsupportedModelError
from framegate.types import UInt8Array


class ImageTextEncoder:
    """A model with features of pictures and of texts in one space.

    Args:
        model: of transformers, with `get_image_features` and `get_text_features`: CLIP, SigLIP, SigLIP 2, ALIGN, ...
        processor: the model's own, with an image processor and a tokenizer.

    Raises:
        UnsupportedModelError: a model or processor without them.
    """

    def __init__(self, model: Any, processor: Any) -> None:
        missing = [
            f"{type(owner).__name__} has no {name}"
            for owner, name in (
                (model, "get_image_features"),
                (model, "get_text_features"),
                (processor, "image_processor"),
                (processor, "tokenizer"),
            )
            if not hasattr(owner, name)
        ]
        if missing:
            raise UnsupportedModelError(
                f"{'; '.join(missing)}: give an image-text model, such as CLIPModel or SiglipModel, with its processor."
            )
        self.model, self.processor = model, processor

    def encode_frames(self, frames: UInt8Array) -> Tensor:
        """Encode a batch of frames.

        Args:
            frames: uint8 [F, h, w, 3] RGB.

        Returns:
            float [F, D].
        """
        inputs = self.processor.image_processor(images=list(frames), return_tensors="pt")
        with torch.inference_mode():
            placed = inputs.to(device=self.model.device, dtype=self.model.dtype)
            return _features(self.model.get_image_features(**placed))

    def encode_text(self, text: str) -> Tensor:
        """Encode one text, cut to what the model reads.

        Args:
            text: the question, or a caption.

        Returns:
            float [D].
        """
        tokenizer = self.processor.tokenizer
        longest = min(tokenizer.model_max_length, self.model.config.text_config.max_position_embeddings)
        # SigLIP was trained on padded texts and takes no mask
        inputs = tokenizer(
            text, padding="max_length", truncation=True, max_length=longest, return_tensors="pt"
        )
        with torch.inference_mode():
            return _features(self.model.get_text_features(**inputs.to(self.model.device)))[0]


class TimmEncoder:
    """An image model of timm: frames are compared with each other, for it has no text side.

    Args:
        model: of `timm.create_model`, in evaluation mode.

    Raises:
        UnsupportedModelError: a model without timm's methods and `pretrained_cfg`.
    """

    def __init__(self, model: Any) -> None:
        if not all(hasattr(model, name) for name in ("forward_features", "forward_head", "pretrained_cfg")):
            raise UnsupportedModelError(
                f"{type(model).__name__} is no image model of timm: give what timm.create_model makes."
            )
        self.model = model

    def encode_frames(self, frames: UInt8Array) -> Tensor:
        """Encode a batch of frames, stretched to the model's own size.

        Args:
            frames: uint8 [F, h, w, 3] RGB.

        Returns:
            float [F, D], what stands before the model's classes.
        """
        settings = self.model.pretrained_cfg
        like = next(self.model.parameters())
        mean, std = (torch.tensor(settings[name]).to(like)[:, None, None] for name in ("mean", "std"))
        pixels = torch.from_numpy(np.ascontiguousarray(frames)).to(like.device).permute(0, 3, 1, 2)
        pixels = functional.interpolate(
            pixels.float(), settings["input_size"][1:], mode="bicubic", antialias=True, align_corners=False
        )
        with torch.inference_mode():
            scaled = (pixels.clamp(0, 255) / 255).to(like.dtype)
            features = self.model.forward_features((scaled - mean) / std)
            return self.model.forward_head(features, pre_logits=True).flatten(1)


def _features(output: Any) -> Tensor:
    return getattr(output, "pooler_output", output)
