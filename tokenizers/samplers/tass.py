"""Frames that answer a question, kept apart in time: DATE's temporal-aware similarity sampling (TASS)."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from framegate.errors import ConfigError, FrameError
from framegate.settings import Count, PerCall, Positive, checked
from framegate.tokenizers.clip.window import windowed
from framegate.tokenizers.relevance import check_scorer
from framegate.tokenizers.samplers import fps as every
from framegate.tokenizers.scoring import how_scored, score_file, unwrapped
from framegate.types import Float64Array, FramePlan, Int64Array, VideoInfo

# K of the paper's main table.
DEFAULT_NUM_FRAMES = 256
# Candidates are the best of this many times the frames wanted.
CANDIDATES_PER_FRAME = 4
# Times such as 1/30 s have no exact float: frames closer by this share still keep the distance.
SLACK = 1e-6


@checked
def sample(
    info: VideoInfo,
    *,
    fps: Positive = 2.0,
    num_frames: Count | None = None,
    max_frames: Count | None = None,
    min_gap_seconds: Positive = 20.0,
    query: PerCall[str | None] = None,
    scorer: PerCall[object | None] = None,
    captioner: PerCall[Callable[[str], str] | None] = None,
    show_progress: PerCall[bool] = False,
    start_seconds: PerCall[float | None] = None,
    end_seconds: PerCall[float | None] = None,
) -> FramePlan:
    """Choose the frames most like a question, spread over time by a shrinking least distance.

    Without a scorer frames are scored by novelty (nothing to download), and the plan's notes say so.

    Args:
        info: a video file.
        fps: rate at which frames are scored, in frames per second.
        num_frames: K; None for max_frames, or for 256 when that is None too.
        max_frames: no more than this, None for no limit.
        min_gap_seconds: least distance of the first round; each further round halves it.
        query: the question, needed with a scorer that reads one.
        scorer: a scorer of framegate.tokenizers.relevance or framegate.models.scorers, None for novelty.
        captioner: rewrites the query into a caption of what would be seen; None for the query itself.
        show_progress: draw a progress bar on a terminal.
        start_seconds: start of the clip window, None for the beginning.
        end_seconds: end of the clip window, None for the end.

    Returns:
        min(K, scored frames) different frames in order of time. When no more frames than K are scored, all are
        taken and nothing is decoded.

    Raises:
        ConfigError: a number out of range, a scorer without the query that it reads, an object without a scorer's
            methods, a captioner that is none or gives no text, features or scores of a wrong shape or not finite.
        FrameError: a live source, frames in memory that have to be scored, or a window that holds no frame.
        VideoError: the file has gone, or nothing can be decoded.

    Source: DATE (arXiv 2509.09263) TASS, top-up and end of the halving as `temporally_regularised` says; the
        paper's captioner is a language model, here it is the caller's.
    """
    limits = [value for value in (num_frames, max_frames) if value is not None]
    count = min(limits, default=DEFAULT_NUM_FRAMES)
    check_scorer(unwrapped(scorer), query, "tass")
    if captioner is not None and not callable(captioner):
        raise ConfigError(f"tass.captioner is {captioner!r}; it must be a function, query in, caption out.")
    info = windowed(info, (start_seconds, end_seconds))
    grid = every.sample(info, fps=fps, start_seconds=start_seconds, end_seconds=end_seconds)
    how = how_scored(scorer, query, captioner=captioner)
    if len(grid) <= count:
        note = f"all {len(grid)} frames at {fps:g} per second were taken, so none was scored"
        return replace(grid, notes=(note, *how[1:]))
    scored, damage = score_file(
        info,
        grid,
        sampler="tass",
        window_seconds=(start_seconds, end_seconds),
        scorer=scorer,
        query=query if query is None or scorer is None else _caption(query, captioner),
        show_progress=show_progress,
    )
    chosen = temporally_regularised(
        scored.scores,
        info.frame_times_seconds[scored.indices],
        num_frames=count,
        min_gap_seconds=min_gap_seconds,
        stop_gap_seconds=min(1 / fps, min_gap_seconds),
    )
    plan = FramePlan.from_indices(scored.indices[chosen], info.frame_times_seconds)
    return replace(plan, scores=scored.scores[chosen], notes=(*how, *damage))


def _caption(query: str, captioner: Callable[[str], str] | None) -> str:
    caption = query if captioner is None else captioner(query)
    if not isinstance(caption, str) or not caption.strip():
        raise ConfigError(f"tass.captioner gave {caption!r} for query {query!r}; it must give a caption.")
    return caption


@checked
def temporally_regularised(
    scores: Float64Array,
    times_seconds: Float64Array,
    *,
    num_frames: Count,
    min_gap_seconds: Positive,
    stop_gap_seconds: Positive,
) -> Int64Array:
    """Choose frames of high score that keep apart in time.

    Candidates score above the mean, at most 4 * num_frames of the best. Rounds of least distance min_gap, half
    of it, a quarter, ... take candidates by descending score, as long as the distance is above stop_gap; the
    rest is filled by score, from the candidates, then from all. Equal scores: the earlier frame first.

    Args:
        scores: float [F], finite, higher is better.
        times_seconds: float [F], not decreasing.
        num_frames: K.
        min_gap_seconds: least distance in the first round.
        stop_gap_seconds: rounds end when the distance is this or less; use the frames' spacing.

    Returns:
        int64 [min(K, F)], indices into scores, different and ascending.

    Raises:
        FrameError: lengths differ, no score, scores not finite, or times that go back.
        ConfigError: num_frames or a distance out of range.

    Source: DATE (arXiv 2509.09263) TASS, with a stop of the halving and a top-up to K (the released code
        returns fewer than K frames when fewer score above the mean).
    """
    _check_scores(scores, times_seconds)
    count = min(num_frames, len(scores))
    best_first = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    above_mean = best_first[np.asarray(scores)[best_first] > np.mean(scores)]
    candidates = above_mean[: CANDIDATES_PER_FRAME * count].tolist()
    gaps = {"min_gap_seconds": min_gap_seconds, "stop_gap_seconds": stop_gap_seconds}
    enough = len(candidates) > count
    passes = [found for _, found in rounds(candidates, times_seconds, count, **gaps)] if enough else []
    chosen = passes[-1] if passes else []
    filled = dict.fromkeys([*chosen, *candidates, *best_first.tolist()])
    return np.sort(np.array(list(filled)[:count], np.int64))


def rounds(
    candidates: list[int],
    times_seconds: Float64Array,
    num_frames: int,
    *,
    min_gap_seconds: float,
    stop_gap_seconds: float,
) -> Iterator[tuple[float, list[int]]]:
    """Run the greedy rounds over frames, best first: the least distance, halved each time, and all chosen so far, in
    order.

    They end when `num_frames` are chosen, or the distance is the last one's or less.

    Source: DATE (arXiv 2509.09263) TASS.
    """
    chosen: list[int] = []
    taken_seconds: list[float] = []
    gap = min_gap_seconds
    while len(chosen) < num_frames and gap > stop_gap_seconds:
        for index in candidates:
            time = float(times_seconds[index])
            # a frame already chosen lies 0 s from itself
            if len(chosen) < num_frames and _is_apart(time, taken_seconds, gap * (1 - SLACK)):
                insort(taken_seconds, time)
                chosen.append(index)
        yield gap, list(chosen)
        gap /= 2


def _is_apart(time: float, taken_seconds: list[float], gap: float) -> bool:
    place = bisect_left(taken_seconds, time)
    return all(abs(other - time) >= gap for other in taken_seconds[max(0, place - 1) : place + 1])


def _check_scores(scores: Float64Array, times_seconds: Float64Array) -> None:
    if len(scores) == 0 or np.shape(scores) != np.shape(times_seconds):
        raise FrameError(
            f"scores are {np.shape(scores)} and times_seconds {np.shape(times_seconds)}; they must be [F], F at "
            "least 1."
        )
    if not np.isfinite(scores).all() or not (np.diff(times_seconds) >= 0).all():
        raise FrameError("scores must be finite, and times_seconds must not go back.")
