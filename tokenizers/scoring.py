"""Frames of a file scored in one pass: by a scorer and a query, or by novelty; in batches, each frame once."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import cv2
import numpy as np

from framegate.errors import ConfigError, FrameError
from framegate.notebook import no_bar
from framegate.settings import Count, checked
from framegate.tokenizers.clip import VideoStream, open_video
from framegate.tokenizers.clip.window import Window
from framegate.tokenizers.relevance import (
    Scorer,
    encoded_frames,
    encoded_text,
    encodes_frames,
    encodes_text,
    luma_features,
    novelty,
    scored_frames,
    scores_frames,
    similarity,
)
from framegate.types import Float32Array, Float64Array, Frame, FramePlan, Int64Array, UInt8Array, VideoInfo

# The shorter side of what an encoder sees: CLIP and SigLIP take 224 px and more of a centre crop.
ENCODER_SIDE_PX = 224
# The longer side of what novelty is judged on.
NOVELTY_SIDE_PX = 32
BATCH_FRAMES = 32

Rows = dict[int, Float32Array]
Video = tuple[object, ...]


@dataclass(frozen=True, kw_only=True)
class FrameScores:
    """Scores of frames.

    Args:
        indices: int64 [F], frames of the video that could be decoded, in order of time.
        scores: float64 [F], higher matters more.
        features: float32 [F, D], in which like frames lie close: the encoder's, else those of small luma pictures.
    """

    indices: Int64Array
    scores: Float64Array
    features: Float32Array


class ScoredOnce:
    """A scorer that remembers what it made of frames, so that the next question about a video decodes none of them.

    Features are kept whatever the question, scores of a FrameScorer for each question.

    Args:
        scorer: a scorer of framegate.tokenizers.relevance.
        max_videos: of so many videos (and questions) the last ones are remembered.
    """

    @checked
    def __init__(self, scorer: Scorer, *, max_videos: Count = 4) -> None:
        self.scorer = scorer
        self.max_videos = max_videos
        self._videos: dict[Video, Rows] = {}

    def rows_of(self, video: Video) -> Rows:
        """Look up what is known of a video, by index of the frame; what is added stays."""
        rows = self._videos.pop(video, {})
        self._videos[video] = rows
        while len(self._videos) > self.max_videos:
            del self._videos[next(iter(self._videos))]
        return rows


def unwrapped(scorer: object | None) -> object | None:
    """Give the scorer itself, also of one that remembers."""
    return scorer.scorer if isinstance(scorer, ScoredOnce) else scorer


def reads_query(scorer: object | None) -> bool:
    """Tell whether a scorer needs a query, also one that remembers."""
    judge = unwrapped(scorer)
    return encodes_text(judge) or scores_frames(judge)


def score_frames(
    stream: VideoStream,
    plan: FramePlan,
    *,
    scorer: object | None = None,
    query: str | None = None,
    show_progress: bool = False,
) -> FrameScores:
    """Score planned frames of a file.

    Args:
        stream: an open file.
        plan: the frames.
        scorer: a scorer that `check_scorer` let pass, also inside ScoredOnce; None for novelty of small luma pictures.
        query: what a scorer with a text side reads.
        show_progress: draw a progress bar on a terminal.

    Returns:
        With a text the cosine of a frame's features and the text's, in [-1, 1], or the FrameScorer's own scores;
        without one 1 - the cosine of a frame's features and those of the planned frame before it, in [0, 2], 1 for the
        first frame (of luma pictures: 1 - their correlation).

    Raises:
        ConfigError: the scorer gave another shape, NaN or infinity.
        VideoError: nothing can be decoded.

    Source: DATE (arXiv 2509.09263), s_j = cos(CLIP_img(f_j), CLIP_text(caption)).
    """
    judge = unwrapped(scorer)
    text_features = encoded_text(judge, query) if encodes_text(judge) and query is not None else None
    rows = _rows(stream, plan, scorer, query, show_progress)
    indices = np.array([index for index in np.unique(plan.indices).tolist() if index in rows], np.int64)
    features = _stacked([rows[index] for index in indices.tolist()], judge)
    if scores_frames(judge):
        # a score stands before the features of its frame
        return FrameScores(
            indices=indices, scores=features[:, 0].astype(np.float64), features=features[:, 1:]
        )
    exact = features.astype(np.float64)
    if text_features is None:
        return FrameScores(indices=indices, scores=novelty(exact), features=features)
    if text_features.shape != features.shape[1:]:
        raise ConfigError(
            f"{type(judge).__name__}.encode_frames gave {features.shape[1]} features for each frame and encode_text "
            f"{len(text_features)}; they must be as many."
        )
    return FrameScores(indices=indices, scores=similarity(exact, text_features), features=features)


def score_file(
    info: VideoInfo,
    plan: FramePlan,
    *,
    sampler: str,
    window_seconds: Window,
    scorer: object | None,
    query: str | None,
    show_progress: bool,
) -> tuple[FrameScores, tuple[str, ...]]:
    """Open the file of a sampler and score the frames of a plan; beside the scores what was found damaged.

    Raises what `open_file` and `score_frames` raise.
    """
    with open_file(info, window_seconds, sampler) as stream:
        known = len(stream.warnings)
        scored = score_frames(stream, plan, scorer=scorer, query=query, show_progress=show_progress)
        return scored, tuple(stream.warnings[known:])


def _rows(
    stream: VideoStream, plan: FramePlan, scorer: object | None, query: str | None, show_progress: bool
) -> Rows:
    """What is made of each frame, float32 [D] by its index; only frames that are not known yet are decoded."""
    from tqdm.auto import tqdm

    make, size_px = _maker(unwrapped(scorer), query), _size(stream.info, unwrapped(scorer))
    known: Rows = {}
    if isinstance(scorer, ScoredOnce):
        asked = query if scores_frames(scorer.scorer) else None
        known = scorer.rows_of((*_identity(stream.info), size_px, asked))
    missing = np.array([index for index in np.unique(plan.indices).tolist() if index not in known], np.int64)
    if not len(missing):
        return known
    wanted = FramePlan.from_indices(missing, stream.info.frame_times_seconds)
    frames = stream.frames(wanted, size_px=size_px, pixel_format="gray" if scorer is None else "rgb24")
    with tqdm(total=len(missing), unit="frame", disable=no_bar(show_progress)) as bar:
        for batch in _batches(frames):
            made = make(np.stack([frame.pixels for frame in batch])).astype(np.float32)
            known.update(zip((frame.index for frame in batch), made, strict=True))
            bar.update(len(batch))
    return known


def _stacked(rows: list[Float32Array], scorer: object | None) -> Float32Array:
    """Rows of all batches as one array, [F, D]."""
    widths = sorted({len(row) for row in rows})
    if len(widths) > 1:
        raise ConfigError(
            f"{type(scorer).__name__}.encode_frames gave {' and '.join(map(str, widths))} features for frames of one "
            "video; they must be as many for each."
        )
    return np.stack(rows)


def _maker(scorer: object | None, query: str | None) -> Callable[[UInt8Array], Float64Array]:
    """What makes rows, float [F, D], of a batch of frames."""
    if encodes_frames(scorer):
        return lambda frames: encoded_frames(scorer, frames)
    if scores_frames(scorer) and query is not None:
        return lambda frames: np.column_stack([scored_frames(scorer, frames, query), _luma_rows(frames)])
    return lambda frames: np.stack([luma_features(frame) for frame in frames])


def _luma_rows(frames: UInt8Array) -> Float64Array:
    """Features of small luma pictures, of RGB frames uint8 [F, h, w, 3]."""
    scale = min(1.0, NOVELTY_SIDE_PX / max(frames.shape[1:3]))
    height, width = (max(1, round(side * scale)) for side in frames.shape[1:3])
    small = [cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in frames]
    return np.stack([luma_features(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)) for picture in small])


def _size(info: VideoInfo, scorer: object | None) -> tuple[int, int]:
    if scorer is None:
        return small_size(info, longer_px=NOVELTY_SIDE_PX)
    return small_size(info, shorter_px=getattr(scorer, "shorter_side_px", None) or ENCODER_SIDE_PX)


def _identity(info: VideoInfo) -> Video:
    """What tells one video from another, and a file from what was written over it."""
    if info.content is not None:
        return (hashlib.blake2b(info.content).digest(), info.video_stream)
    status = os.stat(info.source) if info.source is not None and os.path.exists(info.source) else None
    changed = (status.st_size, status.st_mtime_ns) if status else ()
    return (str(info.source), info.video_stream, *changed)


def how_scored(scorer: object | None, query: str | None, **beside: object | None) -> tuple[str, ...]:
    """Notes of a plan for which there was no scorer; `beside` names what else only a scorer would have used."""
    if scorer is not None:
        return ()
    note = "no scorer was given: frames were scored by novelty, not by likeness to a question"
    unused = [name for name, value in {"query": query, **beside}.items() if value is not None]
    if not unused:
        return (note,)
    return (
        note,
        f"{' and '.join(unused)} not used: that needs a scorer, framegate.plan_frames(..., scorer=...)",
    )


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
