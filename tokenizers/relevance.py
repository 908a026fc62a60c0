"""How much each frame matters: by likeness to a question, or, without one, by how new it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol, TypeGuard

import numpy as np

from framegate.errors import ConfigError, FrameError
from framegate.tokenizers.clip import VideoStream, open_video
from framegate.tokenizers.clip.window import Window
from framegate.types import Float64Array, Frame, FramePlan, Int64Array, UInt8Array, VideoInfo

# Contrast, in levels of luma, below which a picture counts as flat: noise on a wall is no news.
FLAT_CONTRAST = 2.0


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
    """Tell whether an object has both methods of an encoder."""
    return all(callable(getattr(value, name, None)) for name in ("encode_frames", "encode_text"))


def encoded_text(encoder: FrameTextEncoder, text: str) -> Float64Array:
    """Encode a text, float64 [D]; ConfigError where the encoder gave another shape, NaN or infinity."""
    features = as_array(encoder.encode_text(text))
    if features.ndim != 1 or not np.isfinite(features).all():
        raise ConfigError(
            f"{type(encoder).__name__}.encode_text gave {_spelt(features)}; it must give [D], finite."
        )
    return features


def encoded_frames(encoder: FrameTextEncoder, frames: UInt8Array, width: int) -> Float64Array:
    """Encode frames, uint8 [F, h, w, 3] -> float64 [F, width]; ConfigError for another shape, NaN or infinity."""
    features = as_array(encoder.encode_frames(frames))
    if features.shape != (len(frames), width) or not np.isfinite(features).all():
        raise ConfigError(
            f"{type(encoder).__name__}.encode_frames gave {_spelt(features)} for {len(frames)} frames; it must "
            f"give {[len(frames), width]}, finite (encode_text gives [{width}])."
        )
    return features


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


# The shorter side of what an encoder sees: CLIP and SigLIP take 224 px and more of a centre crop.
ENCODER_SIDE_PX = 224
# The longer side of what novelty is judged on.
NOVELTY_SIDE_PX = 32
BATCH_FRAMES = 32


@dataclass(frozen=True, kw_only=True)
class FrameScores:
    """Scores of frames.

    Args:
        indices: int64 [F], frames of the video that could be decoded, in order of time.
        scores: float64 [F], higher matters more.
    """

    indices: Int64Array
    scores: Float64Array


def score_by_query(
    stream: VideoStream, plan: FramePlan, *, encoder: FrameTextEncoder, text: str
) -> FrameScores:
    """Score planned frames by the cosine of their features and a text's, in [-1, 1].

    Raises:
        ConfigError: the encoder gave features of another shape, NaN or infinity.
        VideoError: nothing can be decoded.

    Source: DATE (arXiv 2509.09263), scores of TASS.
    """
    text_features = encoded_text(encoder, text)
    size_px = small_size(stream.info, shorter_px=ENCODER_SIDE_PX)
    indices: list[int] = []
    scores: list[Float64Array] = []
    for batch in _batches(stream.frames(plan, size_px=size_px)):
        indices += [frame.index for frame in batch]
        pixels = np.stack([frame.pixels for frame in batch])  # [F, h, w, 3]
        scores.append(similarity(encoded_frames(encoder, pixels, len(text_features)), text_features))
    return FrameScores(indices=np.array(indices, np.int64), scores=np.concatenate(scores))


def score_by_novelty(stream: VideoStream, plan: FramePlan) -> FrameScores:
    """Score frames by how unlike the planned frame before them they are, without any model.

    1 - correlation of small luma pictures, in [0, 2]; 1 for the first frame. VideoError where nothing can be decoded.
    """
    size_px = small_size(stream.info, longer_px=NOVELTY_SIDE_PX)
    indices: list[int] = []
    scores: list[float] = []
    previous: Float64Array | None = None
    for frame in stream.frames(plan, size_px=size_px, pixel_format="gray"):
        features = luma_features(frame.pixels)
        scores.append(1.0 if previous is None else float(novelty(np.stack([previous, features]))[1]))
        indices.append(frame.index)
        previous = features
    return FrameScores(indices=np.array(indices, np.int64), scores=np.array(scores))


def open_file(info: VideoInfo, window_seconds: Window, sampler: str) -> VideoStream:
    """Open the file that a VideoInfo describes, for a sampler.

    Raises:
        FrameError: the frames are in memory, so that there is nothing to open.
        VideoError: the file has gone, or cannot be read.
    """
    if info.source is None:
        raise FrameError(
            f"Frame sampler {sampler!r} looks at the pictures of a file, but these frames are in memory; write "
            "them to a file, or use sampler 'fps' or 'uniform'."
        )
    source = info.source if info.content is None else info.content
    return open_video(source, window_seconds=window_seconds, video_stream=info.video_stream)


def small_size(
    info: VideoInfo, *, longer_px: int | None = None, shorter_px: int | None = None
) -> tuple[int, int]:
    """Find height and width of frames to look at: the video's shape within bounds of its sides, never enlarged."""
    sides = (info.height_px, info.width_px)
    scale = min(1.0, (longer_px or max(sides)) / max(sides), (shorter_px or min(sides)) / min(sides))
    return max(1, round(sides[0] * scale)), max(1, round(sides[1] * scale))


def _batches(frames: Iterator[Frame]) -> Iterator[list[Frame]]:
    while batch := list(islice(frames, BATCH_FRAMES)):
        yield batch
