"""What a pluggable image and text encoder has to offer, and checks on what it gives."""

from __future__ import annotations

from typing import Any, Protocol, TypeGuard

import numpy as np

from framegate.errors import ConfigError
from framegate.types import Float64Array, UInt8Array


class FrameTextEncoder(Protocol):
    """Puts frames and texts into one space, as CLIP and SigLIP do.

    Two methods, no base class needed. Resizing and normalising are the encoder's; results may be NumPy arrays or
    torch tensors on any device, of any float type.
    """

    def encode_frames(self, frames: UInt8Array) -> Any:
        """Encode a batch of frames.

        Args:
            frames: uint8 [F, h, w, 3] RGB, full range, F at least 1.

        Returns:
            float [F, D].
        """
        ...

    def encode_text(self, text: str) -> Any:
        """Encode one text.

        Args:
            text: the question, or the caption a captioner made of it.

        Returns:
            float [D].
        """
        ...


def is_encoder(value: object) -> TypeGuard[FrameTextEncoder]:
    """Tell whether an object has both methods of an encoder.

    Args:
        value: anything.

    Returns:
        True when it can encode frames and text.

    Source: ours.
    """
    return all(callable(getattr(value, name, None)) for name in ("encode_frames", "encode_text"))


def encoded_text(encoder: FrameTextEncoder, text: str) -> Float64Array:
    """Encode a text and check the result.

    Args:
        encoder: the user's encoder.
        text: what to encode.

    Returns:
        float64 [D].

    Raises:
        ConfigError: the encoder gave another shape, NaN or infinity.

    Source: ours.
    """
    features = as_array(encoder.encode_text(text))
    if features.ndim != 1 or not np.isfinite(features).all():
        raise ConfigError(
            f"{type(encoder).__name__}.encode_text gave {_spelt(features)}; it must give [D], finite."
        )
    return features


def encoded_frames(encoder: FrameTextEncoder, frames: UInt8Array, width: int) -> Float64Array:
    """Encode frames and check the result.

    Args:
        encoder: the user's encoder.
        frames: uint8 [F, h, w, 3].
        width: D, the width of the encoder's text features.

    Returns:
        float64 [F, D].

    Raises:
        ConfigError: the encoder gave another shape, NaN or infinity.

    Source: ours.
    """
    features = as_array(encoder.encode_frames(frames))
    if features.shape != (len(frames), width) or not np.isfinite(features).all():
        raise ConfigError(
            f"{type(encoder).__name__}.encode_frames gave {_spelt(features)} for {len(frames)} frames; it must "
            f"give {[len(frames), width]}, finite (encode_text gives [{width}])."
        )
    return features


def as_array(value: Any) -> Float64Array:
    """Take what an encoder gives, also tensors with a gradient, on a GPU or in bfloat16.

    Args:
        value: NumPy array, torch tensor or nested lists.

    Returns:
        float64, the same shape.

    Source: ours.
    """
    if hasattr(value, "detach"):
        value = value.detach().double().cpu().numpy()
    return np.asarray(value, dtype=np.float64)


def _spelt(features: Float64Array) -> str:
    finite = "" if np.isfinite(features).all() else " with NaN or infinity"
    return f"{list(features.shape)}{finite}"
