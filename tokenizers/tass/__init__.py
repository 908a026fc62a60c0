"""Frames that answer a question, kept apart in time: DATE's temporal-aware similarity sampling (TASS)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from framegate.errors import ConfigError
from framegate.tokenizers import fps as fps_sampler
from framegate.tokenizers.relevance.encoder import is_encoder
from framegate.tokenizers.relevance.frames import FrameScores, open_file, score_by_novelty, score_by_query
from framegate.tokenizers.tass.selection import temporally_regularised
from framegate.tokenizers.video_stream import VideoStream
from framegate.types import FramePlan, VideoInfo

__all__ = ["sample", "temporally_regularised"]

# K of the paper's main table.
DEFAULT_NUM_FRAMES = 256


def sample(
    info: VideoInfo,
    *,
    fps: float = 2.0,
    num_frames: int | None = None,
    max_frames: int | None = None,
    min_gap_seconds: float = 20.0,
    query: str | None = None,
    encoder: object | None = None,
    captioner: Callable[[str], str] | None = None,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
) -> FramePlan:
    """Choose the frames most like a question, spread over time by a shrinking least distance.

    Without an encoder frames are scored by novelty (ours, nothing to download), and the plan's notes say so.

    Args:
        info: a video file.
        fps: rate at which frames are scored, in frames per second, above 0.
        num_frames: K, at least 1; None for max_frames, or for 256 when that is None too.
        max_frames: no more than this, None for no limit.
        min_gap_seconds: least distance of the first round, above 0; each further round halves it.
        query: the question, needed with an encoder.
        encoder: a framegate.tokenizers.relevance.FrameTextEncoder, None for novelty.
        captioner: rewrites the query into a caption of what would be seen; None for the query itself.
        start_seconds: start of the clip window, None for the beginning.
        end_seconds: end of the clip window, None for the end.

    Returns:
        min(K, scored frames) different frames in order of time. When no more frames than K are scored, all are
        taken and nothing is decoded.

    Raises:
        ConfigError: a number out of range, an encoder without a query, an object without the encoder's two
            methods, a captioner that is none or gives no text, features of a wrong shape or not finite.
        FrameError: a live source, frames in memory, or a window that holds no frame.
        VideoError: the file has gone, or nothing can be decoded.

    Source: DATE (arXiv 2509.09263) TASS, top-up and end of the halving as `temporally_regularised` says; the
        paper's captioner is a language model, here it is the caller's.
    """
    count = _count(num_frames, max_frames)
    _check_gap(min_gap_seconds)
    _check_encoder(query, encoder, captioner)
    grid = fps_sampler.sample(info, fps=fps, start_seconds=start_seconds, end_seconds=end_seconds)
    with open_file(info, (start_seconds, end_seconds), "tass") as stream:
        if len(grid) <= count:
            note = f"all {len(grid)} frames at {fps:g} per second were taken, so none was scored"
            return replace(grid, notes=(note, *_unused(query, captioner, encoder)))
        known = len(stream.warnings)
        scored = _scores(stream, grid, query, encoder, captioner)
        notes = (*_how_scored(encoder), *_unused(query, captioner, encoder), *stream.warnings[known:])
    chosen = temporally_regularised(
        scored.scores,
        info.frame_times_seconds[scored.indices],
        count,
        min_gap_seconds=min_gap_seconds,
        stop_gap_seconds=min(1 / fps, min_gap_seconds),
    )
    return replace(FramePlan.from_indices(scored.indices[chosen], info.frame_times_seconds), notes=notes)


def _scores(
    stream: VideoStream,
    grid: FramePlan,
    query: str | None,
    encoder: object | None,
    captioner: Callable[[str], str] | None,
) -> FrameScores:
    if query is None or not is_encoder(encoder):
        return score_by_novelty(stream, grid)
    return score_by_query(stream, grid, encoder=encoder, text=_caption(query, captioner))


def _caption(query: str, captioner: Callable[[str], str] | None) -> str:
    caption = query if captioner is None else captioner(query)
    if not isinstance(caption, str) or not caption.strip():
        raise ConfigError(f"tass.captioner gave {caption!r} for query {query!r}; it must give a caption.")
    return caption


def _how_scored(encoder: object | None) -> tuple[str, ...]:
    if encoder is not None:
        return ()
    return ("no encoder was given: frames were scored by novelty, not by likeness to a question",)


def _unused(query: str | None, captioner: object | None, encoder: object | None) -> tuple[str, ...]:
    if encoder is not None or (query is None and captioner is None):
        return ()
    given = " and ".join(
        name for name, value in (("query", query), ("captioner", captioner)) if value is not None
    )
    return (f"{given} not used: that needs an encoder, framegate.plan_frames(..., encoder=...)",)


def _count(num_frames: int | None, max_frames: int | None) -> int:
    for name, value in (("num_frames", num_frames), ("max_frames", max_frames)):
        if value is not None and value < 1:
            raise ConfigError(f"{name} is {value}; it must be at least 1, or None.")
    limits = [value for value in (num_frames, max_frames) if value is not None]
    return min(limits, default=DEFAULT_NUM_FRAMES)


def _check_gap(min_gap_seconds: float) -> None:
    if not (min_gap_seconds > 0 and math.isfinite(min_gap_seconds)):
        raise ConfigError(f"min_gap_seconds is {min_gap_seconds}; it must be above 0 and finite.")


def _check_encoder(query: object, encoder: object | None, captioner: object | None) -> None:
    if query is not None and (not isinstance(query, str) or not query.strip()):
        raise ConfigError(f"tass.query is {query!r}; it must be a question, or None.")
    if captioner is not None and not callable(captioner):
        raise ConfigError(f"tass.captioner is {captioner!r}; it must be a function, query in, caption out.")
    if encoder is None:
        return
    if not is_encoder(encoder):
        raise ConfigError(
            f"tass.encoder is a {type(encoder).__name__}; it must have encode_frames(uint8 [F, h, w, 3]) -> "
            "[F, D] and encode_text(str) -> [D]."
        )
    if query is None:
        raise ConfigError(
            "tass.encoder is given, but query is None; give query='...', or leave the encoder out to score "
            "frames by novelty."
        )
