"""Frames at which the content turns: temporal apexes, in the manner of ChronoForge.

Of the paper (arXiv 2509.15800) only the names and the order of the stages are known: variation scoring, inflection
detection, prioritised distillation. Every formula and number here is a reconstruction of ours.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal

import numpy as np

from framegate.errors import FrameError
from framegate.settings import Count, PerCall, Positive, Range, checked
from framegate.tokenizers.clip.window import windowed
from framegate.tokenizers.relevance import check_scorer, novelty
from framegate.tokenizers.samplers import fps as every
from framegate.tokenizers.scoring import FrameScores, how_scored, score_file, unwrapped
from framegate.types import Float64Array, FramePlan, Int64Array, VideoInfo

Pick = Literal["apex", "after"]

# K where neither num_frames nor max_frames says it.
DEFAULT_NUM_FRAMES = 32
# Variation is smoothed by a Gaussian of this many candidates, and what is this little is none.
SIGMA = 1.0
STILL = 1e-3
# Candidates on each side over whose mean variation a turn counts more.
AROUND = 2


@checked
def sample(
    info: VideoInfo,
    *,
    fps: Positive = 2.0,
    num_frames: Count | None = None,
    max_frames: Count | None = None,
    pick: Pick = "apex",
    query_weight: Annotated[float, Range(least=0)] = 0.5,
    query: PerCall[str | None] = None,
    scorer: PerCall[object | None] = None,
    show_progress: PerCall[bool] = False,
    start_seconds: PerCall[float | None] = None,
    end_seconds: PerCall[float | None] = None,
) -> FramePlan:
    """Choose the frames at which the content turns, the most prominent first, and evenly spread ones beside them.

    Args:
        info: a video file.
        fps: rate of the candidates, in frames per second.
        num_frames: K; None for max_frames, or for 32 when that is None too.
        max_frames: no more than this, None for no limit.
        pick: "apex" the frame of the turn itself, "after" the calmest one before the next turn.
        query_weight: what the highest score for the query adds to a turn's priority, the lowest adding none.
        query: the question, needed with a scorer that reads one.
        scorer: a scorer of framegate.tokenizers.relevance or framegate.models.scorers, whose features tell variation;
            None for small luma pictures.
        show_progress: draw a progress bar on a terminal.
        start_seconds: start of the clip window, None for the beginning.
        end_seconds: end of the clip window, None for the end.

    Returns:
        min(K, candidates) different frames in order of time. A video in which nothing moves is spread evenly, with a
        note. When there are no more candidates than K, all are taken and nothing is decoded.

    Raises:
        ConfigError: a setting out of range, a scorer without the query that it reads, features or scores of a wrong
            shape or not finite.
        FrameError: a live source, frames in memory that have to be scored, or a window that holds no frame.
        VideoError: the file has gone, or nothing can be decoded.

    Source: stage names of ChronoForge-RL (arXiv 2509.15800); everything else is ours.
    """
    limits = [value for value in (num_frames, max_frames) if value is not None]
    count = min(limits, default=DEFAULT_NUM_FRAMES)
    check_scorer(unwrapped(scorer), query, "apex")
    window = (start_seconds, end_seconds)
    info = windowed(info, window)
    grid = every.sample(info, fps=fps, start_seconds=start_seconds, end_seconds=end_seconds)
    unused = how_scored(scorer, query)[1:]
    if len(grid) <= count:
        note = f"all {len(grid)} frames at {fps:g} per second were taken, so none was looked at"
        return replace(grid, notes=(note, *unused))
    scored, damage = score_file(
        info,
        grid,
        sampler="apex",
        window_seconds=window,
        scorer=scorer,
        query=query,
        show_progress=show_progress,
    )
    variation = smoothed(np.append(0.0, novelty(scored.features.astype(np.float64))[1:]))
    bonus = query_weight * _from_0_to_1(scored) if scorer is not None and query is not None else 0.0
    chosen = turning_frames(variation, bonus=bonus, num_frames=count, pick=pick)
    still = ("nothing moves: frames were spread evenly",) if variation.max() < STILL else ()
    plan = FramePlan.from_indices(scored.indices[chosen], info.frame_times_seconds)
    return replace(plan, scores=variation[chosen], notes=(*unused, *damage, *still))


@checked
def turning_frames(
    variation: Float64Array, *, bonus: Float64Array | float = 0.0, num_frames: Count, pick: Pick = "apex"
) -> Int64Array:
    """Choose frames by smoothed variation.

    Turns are taken by priority, prominence * (1 + mean variation around) + bonus, at least a quarter of an even
    spacing apart; then those frames that lie furthest from all chosen ones.

    Args:
        variation: float [N], finite, 0 or more.
        bonus: added to the priority, float [N].
        num_frames: K.
        pick: "apex" or "after".

    Returns:
        int64 [min(K, N)], ranks, different and ascending.

    Raises:
        FrameError: no variation, or what is not finite.
        ConfigError: a setting out of range.
    """
    variation = np.asarray(variation, np.float64)
    total = len(variation)
    if not total or not np.isfinite(variation).all() or not np.isfinite(bonus).all():
        raise FrameError(f"variation and bonus must be finite, and of one frame at least; got {total}.")
    apexes, inflections = turns(variation)
    found = np.union1d(apexes, inflections) if variation.max() >= STILL else np.zeros(0, np.int64)
    around = np.convolve(
        np.pad(variation, AROUND, mode="edge"), np.ones(2 * AROUND + 1) / (2 * AROUND + 1), "valid"
    )
    priority = prominence(variation, apexes) * (1 + around) + bonus
    least = -(-total // (4 * num_frames))
    chosen: list[int] = []
    free = np.ones(total, bool)
    for rank in found[np.argsort(-priority[found], kind="stable")].tolist():
        if free[rank] and len(chosen) < num_frames:
            chosen.append(rank)
            free[max(0, rank - least + 1) : rank + least] = False
    if pick == "after":
        chosen = [_calmest_after(variation, rank, apexes) for rank in chosen]
    return spread_out(np.unique(np.array(chosen, np.int64)), total, min(num_frames, total))


def smoothed(variation: Float64Array) -> Float64Array:
    """Smooth by a Gaussian of one candidate, float [N] -> float64 [N]; the ends are mirrored."""
    reach = np.arange(-3, 4)
    weights = np.exp(-0.5 * (reach / SIGMA) ** 2)
    return np.convolve(np.pad(variation, 3, mode="symmetric"), weights / weights.sum(), "valid")


def turns(variation: Float64Array) -> tuple[Int64Array, Int64Array]:
    """Find ranks at which variation stops rising, and those at which it bends while it changes more than on average."""
    slope = np.diff(variation)
    apexes = np.flatnonzero((slope[:-1] > 0) & (slope[1:] <= 0)) + 1
    bend = np.sign(np.diff(slope))
    steep = np.abs(slope) > np.abs(slope).mean() if len(slope) else np.zeros(0, bool)
    inflections = np.flatnonzero((bend[:-1] != bend[1:]) & steep[1:-1]) + 1
    return apexes.astype(np.int64), inflections.astype(np.int64)


def prominence(variation: Float64Array, apexes: Int64Array) -> Float64Array:
    """How far each apex stands above the higher of the lowest points on the way to something higher, or to an end.

    float64 [N], 0 for ranks that are no apex.
    """
    found = np.zeros(len(variation))
    for rank in apexes.tolist():
        height = variation[rank]
        higher = np.flatnonzero(variation > height)
        left = int(higher[higher < rank][-1]) if np.any(higher < rank) else 0
        right = int(higher[higher > rank][0]) if np.any(higher > rank) else len(variation) - 1
        found[rank] = height - max(variation[left : rank + 1].min(), variation[rank : right + 1].min())
    return found


def _calmest_after(variation: Float64Array, rank: int, apexes: Int64Array) -> int:
    later = apexes[apexes > rank]
    end = int(later[0]) if len(later) else len(variation)
    return rank + int(np.argmin(variation[rank:end]))


def spread_out(chosen: Int64Array, total: int, count: int) -> Int64Array:
    """Add the rank furthest from all chosen ones, again and again, of two the earlier; the middle where none is."""
    ranks, every_rank = chosen.tolist(), np.arange(total)
    distance = np.min(np.abs(every_rank[:, None] - chosen[None]), axis=1, initial=total)
    while len(ranks) < count:
        ranks.append(int(np.argmax(distance)) if ranks else total // 2)
        distance = np.minimum(distance, np.abs(every_rank - ranks[-1]))
    return np.array(sorted(ranks), np.int64)


def _from_0_to_1(scored: FrameScores) -> Float64Array:
    """Scores between the lowest, 0, and the highest, 1; all 0 where they are equal."""
    low, high = scored.scores.min(), scored.scores.max()
    return (scored.scores - low) / (high - low) if high > low else np.zeros(len(scored.scores))
