"""Scores of a video's frames, read as a stream: memory holds one batch of small frames, whatever the length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from framegate.errors import FrameError
from framegate.tokenizers.clip import VideoStream, open_video
from framegate.tokenizers.clip.window import Window
from framegate.tokenizers.relevance.scores import (
    FrameTextEncoder,
    encoded_frames,
    encoded_text,
    luma_features,
    novelty,
    similarity,
)
from framegate.types import Float64Array, Frame, FramePlan, Int64Array, VideoInfo

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
    """Score frames by their likeness to a text.

    Args:
        stream: an open video.
        plan: the frames to score, each once.
        encoder: the user's image and text encoder.
        text: question or caption.

    Returns:
        Cosine of each frame and the text, in [-1, 1].

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

    Args:
        stream: an open video.
        plan: the frames to score, each once.

    Returns:
        1 - correlation of small luma pictures, in [0, 2]; 1 for the first frame.

    Raises:
        VideoError: nothing can be decoded.
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
    """Open the file that a VideoInfo describes.

    Args:
        info: what `probe` told of a file.
        window_seconds: clip window.
        sampler: who asks, for the message.

    Returns:
        The open stream; use it in a `with` statement.

    Raises:
        FrameError: the frames are in memory, so that there is nothing to open.
        VideoError: the file has gone, or cannot be read.
    """
    if info.source is None:
        raise FrameError(
            f"Frame sampler {sampler!r} looks at the pictures of a file, but these frames are in memory; write "
            "them to a file, or use sampler 'fps' or 'uniform'."
        )
    return open_video(info.source, window_seconds=window_seconds)


def small_size(
    info: VideoInfo, *, longer_px: int | None = None, shorter_px: int | None = None
) -> tuple[int, int]:
    """Find the size of frames to look at: the video's shape, never enlarged.

    Args:
        info: the video.
        longer_px: bound of the longer side, at least 1, None for none.
        shorter_px: bound of the shorter side, at least 1, None for none.

    Returns:
        Height and width in pixels, at least 1.
    """
    sides = (info.height_px, info.width_px)
    scale = min(1.0, (longer_px or max(sides)) / max(sides), (shorter_px or min(sides)) / min(sides))
    return max(1, round(sides[0] * scale)), max(1, round(sides[1] * scale))


def _batches(frames: Iterator[Frame]) -> Iterator[list[Frame]]:
    while batch := list(islice(frames, BATCH_FRAMES)):
        yield batch
