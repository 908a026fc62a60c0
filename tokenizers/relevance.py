"""What says how much a frame matters: encoders and scorers, what is checked of them, likeness and novelty."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard

import numpy as np

from framegate.errors import ConfigError, FrameError
from framegate.types import Float64Array, UInt8Array

# Contrast, in levels of luma, below which a picture counts as flat: noise on a wall is no news.
FLAT_CONTRAST = 2.0


class FrameEncoder(Protocol):
    """Puts frames into a space in which like frames lie close; without a text side it tells what is new alone.

    No base class needed, here and below. Resizing and normalising are the encoder's; results may be NumPy arrays or
    torch tensors on any device, of any float type. One that reads small print asks for larger frames with an attribute
    `shorter_side_px`; else they come with a shorter side of 224 px at most.
    """

    def encode_frames(self, frames: UInt8Array) -> Any:
        """Encode a batch of frames.

        Args:
            frames: uint8 [F, h, w, 3] RGB, full range, F at least 1.

        Returns:
            float [F, D].
        """
        ...


class FrameTextEncoder(FrameEncoder, Protocol):
    """Puts frames and texts into one space, as CLIP and SigLIP do; a frame's score is the cosine of both."""

    def encode_text(self, text: str) -> Any:
        """Encode one text.

        Args:
            text: the question, or the caption a captioner made of it.

        Returns:
            float [D].
        """
        ...


class FrameScorer(Protocol):
    """Says how much frames matter to a text, where no space holds both: a model that answers yes or no."""

    def score_frames(self, frames: UInt8Array, text: str) -> Any:
        """Score a batch of frames.

        Args:
            frames: uint8 [F, h, w, 3] RGB, full range, F at least 1.
            text: the question.

        Returns:
            float [F], finite, higher matters more.
        """
        ...


Scorer = FrameEncoder | FrameTextEncoder | FrameScorer


@dataclass(frozen=True)
class BetweenFrames:
    """The frames' side of an encoder alone, so that frames are compared with each other and no query is needed."""

    encoder: FrameEncoder

    @property
    def shorter_side_px(self) -> int | None:
        """The size that the encoder asks for."""
        return getattr(self.encoder, "shorter_side_px", None)

    def encode_frames(self, frames: UInt8Array) -> Any:
        """Encode a batch of frames, uint8 [F, h, w, 3] -> float [F, D]."""
        return self.encoder.encode_frames(frames)


def encodes_frames(scorer: object) -> TypeGuard[FrameEncoder]:
    """Tell whether a scorer has features of frames."""
    return callable(getattr(scorer, "encode_frames", None))


def encodes_text(scorer: object) -> TypeGuard[FrameTextEncoder]:
    """Tell whether a scorer puts texts where its frames are."""
    return encodes_frames(scorer) and callable(getattr(scorer, "encode_text", None))


def scores_frames(scorer: object) -> TypeGuard[FrameScorer]:
    """Tell whether a scorer gives scores, and no features."""
    return not encodes_frames(scorer) and callable(getattr(scorer, "score_frames", None))


def check_scorer(scorer: object | None, query: str | None, place: str) -> None:
    """Check that a sampler's scorer and query go together, before anything is decoded.

    Raises:
        ConfigError: an empty query, an object with none of the methods, a query missing for one that reads it, or
            given to one that does not.
    """
    if query is not None and not query.strip():
        raise ConfigError(f"{place}.query is {query!r}; it must be a question, or None.")
    if scorer is None:
        return
    kind = type(scorer).__name__
    if not encodes_frames(scorer) and not scores_frames(scorer):
        raise ConfigError(
            f"{place}.scorer is a {kind}; it must have encode_frames(uint8 [F, h, w, 3]) -> [F, D], with "
            "encode_text(str) -> [D] where it reads a query, or score_frames(frames, str) -> [F]."
        )
    reads_query = encodes_text(scorer) or scores_frames(scorer)
    if reads_query and query is None:
        raise ConfigError(
            f"{place}.scorer is given, but query is None; give query='...', leave the scorer out to score frames by "
            "novelty, or wrap an encoder in framegate.tokenizers.relevance.BetweenFrames."
        )
    if query is not None and not reads_query:
        raise ConfigError(
            f"{place}.query is given, and {place}.scorer, a {kind}, has no encode_text to read it with; leave the "
            "query out, or give an encoder of frames and texts."
        )


def encoded_text(encoder: FrameTextEncoder, text: str) -> Float64Array:
    """Encode a text, float64 [D]; ConfigError where the encoder gave another shape, NaN or infinity."""
    features = as_array(encoder.encode_text(text))
    if features.ndim != 1 or not np.isfinite(features).all():
        raise ConfigError(
            f"{type(encoder).__name__}.encode_text gave {_spelt(features)}; it must give [D], finite."
        )
    return features


def encoded_frames(encoder: FrameEncoder, frames: UInt8Array) -> Float64Array:
    """Encode frames, uint8 [F, h, w, 3] -> float64 [F, D]; ConfigError for another shape, NaN or infinity."""
    features = as_array(encoder.encode_frames(frames))
    if features.ndim != 2 or len(features) != len(frames) or not np.isfinite(features).all():
        raise ConfigError(
            f"{type(encoder).__name__}.encode_frames gave {_spelt(features)} for {len(frames)} frames; it must "
            f"give [{len(frames)}, D], finite."
        )
    return features


def scored_frames(scorer: FrameScorer, frames: UInt8Array, text: str) -> Float64Array:
    """Score frames, uint8 [F, h, w, 3] -> float64 [F]; ConfigError for another length, NaN or infinity."""
    scores = as_array(scorer.score_frames(frames, text))
    if scores.shape != (len(frames),) or not np.isfinite(scores).all():
        raise ConfigError(
            f"{type(scorer).__name__}.score_frames gave {_spelt(scores)} for {len(frames)} frames; it must give "
            f"[{len(frames)}], finite."
        )
    return scores


def as_array(value: Any) -> Float64Array:
    """Take what an encoder gives as float64, also tensors with a gradient, on a GPU or in bfloat16."""
    if hasattr(value, "detach"):
        value = value.detach().double().cpu().numpy()
    return np.asarray(value, dtype=np.float64)


def _spelt(features: Float64Array) -> str:
    finite = "" if np.isfinite(features).all() else " with NaN or infinity"
    return f"{list(features.shape)}{finite}"


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
    """Measure how new each frame is against the one before it, by features [F, D] in order of time.

    float64 [F], 1 - cosine of a frame's features and its predecessor's, in [0, 2]; 1 for the first frame. FrameError
    for features that are not [F, D] and finite.
    """
    if features.ndim != 2 or not np.isfinite(features).all():
        raise FrameError(f"Features are {features.shape}; they must be [F, D] and finite.")
    unit = _unit(features)
    return np.concatenate([np.ones(min(1, len(unit))), 1 - np.sum(unit[1:] * unit[:-1], axis=1)])


def luma_features(luma: UInt8Array) -> Float64Array:
    """Turn a small picture, uint8 [h, w], into features that ignore its brightness and contrast, float64 [h*w + 1].

    Of length 1: luma without its mean, then a constant as large as the contrast of a picture that counts as flat, so
    that two flat pictures are alike whatever their noise.
    """
    centred = luma.astype(np.float64).ravel() - luma.mean()  # [h*w]
    features = np.append(centred, FLAT_CONTRAST * np.sqrt(luma.size))
    return features / np.linalg.norm(features)


def _unit(features: Float64Array) -> Float64Array:
    features = np.asarray(features, dtype=np.float64)
    length = np.linalg.norm(features, axis=-1, keepdims=True)
    return features / np.where(length > 0, length, 1.0)
