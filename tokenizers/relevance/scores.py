"""Scores of frames from their features. Pure arithmetic."""

from __future__ import annotations

import numpy as np

from framegate.errors import FrameError
from framegate.types import Float64Array, UInt8Array

# Contrast, in levels of luma, below which a picture counts as flat: noise on a wall is no news.
FLAT_CONTRAST = 2.0


def similarity(frame_features: Float64Array, text_features: Float64Array) -> Float64Array:
    """Compare frames with a text.

    Args:
        frame_features: float [F, D].
        text_features: float [D].

    Returns:
        float64 [F], cosine of each frame's features and the text's, in [-1, 1]; 0 where one is all zeros.

    Raises:
        FrameError: shapes that do not fit, NaN or infinity.

    Source: DATE (arXiv 2509.09263), s_j = cos(CLIP_img(f_j), CLIP_text(caption)).
    """
    if frame_features.ndim != 2 or text_features.shape != frame_features.shape[1:]:
        raise FrameError(
            f"Frame features are {frame_features.shape} and text features {text_features.shape}; "
            "they must be [F, D] and [D]."
        )
    if not (np.isfinite(frame_features).all() and np.isfinite(text_features).all()):
        raise FrameError(
            "Frame or text features hold NaN or infinity; run the encoder in float32, or mask them."
        )
    return _unit(frame_features) @ _unit(text_features)


def novelty(features: Float64Array) -> Float64Array:
    """Measure how new each frame is against the one before it.

    Args:
        features: float [F, D], in order of time.

    Returns:
        float64 [F], 1 - cosine of a frame's features and its predecessor's, in [0, 2]; 1 for the first frame.

    Raises:
        FrameError: not [F, D], NaN or infinity.

    Source: ours.
    """
    if features.ndim != 2 or not np.isfinite(features).all():
        raise FrameError(f"Features are {features.shape}; they must be [F, D] and finite.")
    unit = _unit(features)
    return np.concatenate([np.ones(min(1, len(unit))), 1 - np.sum(unit[1:] * unit[:-1], axis=1)])


def luma_features(luma: UInt8Array) -> Float64Array:
    """Turn a small picture into features that ignore its brightness and contrast.

    Args:
        luma: uint8 [h, w].

    Returns:
        float64 [h*w + 1] of length 1: luma without its mean, then a constant as large as the contrast of a
        picture that counts as flat, so that two flat pictures are alike whatever their noise.

    Source: ours.
    """
    centred = luma.astype(np.float64).ravel() - luma.mean()  # [h*w]
    features = np.append(centred, FLAT_CONTRAST * np.sqrt(luma.size))
    return features / np.linalg.norm(features)


def _unit(features: Float64Array) -> Float64Array:
    features = np.asarray(features, dtype=np.float64)
    length = np.linalg.norm(features, axis=-1, keepdims=True)
    return features / np.where(length > 0, length, 1.0)
