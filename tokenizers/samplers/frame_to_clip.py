"""Short clips around the frames that matter, smaller where they are longer: F2C's key clips under a token budget."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated

import numpy as np

from framegate.errors import ConfigError, FrameError
from framegate.settings import Count, PerCall, Positive, Range, checked
from framegate.tokenizers.clip.window import windowed
from framegate.tokenizers.relevance import check_scorer
from framegate.tokenizers.samplers import fps as every
from framegate.tokenizers.scoring import how_scored, score_file, unwrapped
from framegate.types import BoolArray, Float32Array, Float64Array, FramePlan, Int64Array, VideoInfo

# K where neither num_frames nor max_frames says it.
DEFAULT_NUM_FRAMES = 32
# its plans are clips, each of its own size
CLIPS = True
Weight = Annotated[float, Range(least=0)]
Shrinking = Annotated[float, Range(least=1)]


@checked
def sample(
    info: VideoInfo,
    *,
    fps: Positive = 1.0,
    num_frames: Count | None = None,
    max_frames: Count | None = None,
    num_anchors: Count | None = None,
    max_shrinking: Shrinking = 2.0,
    redundancy_weight: Weight = 0.5,
    length_weight: Weight = 0.05,
    query: PerCall[str | None] = None,
    scorer: PerCall[object | None] = None,
    show_progress: PerCall[bool] = False,
    start_seconds: PerCall[float | None] = None,
    end_seconds: PerCall[float | None] = None,
) -> FramePlan:
    """Choose clips around relevant frames, each as long as pays, at a size at which all cost no more than K frames.

    Without a scorer relevance is novelty (nothing to download), and the plan's notes say so.

    Args:
        info: a video file.
        fps: rate of the candidates, in frames per second.
        num_frames: K, the budget in frames of full size; None for max_frames, or for 32 when that is None too.
        max_frames: K is no more than this, None for no limit; of smaller frames a plan may hold more.
        num_anchors: most clips; None for K. There are fewer where relevance has fewer peaks, and each then has a
            larger share of the budget.
        max_shrinking: s_max, how much smaller each side of a frame may become.
        redundancy_weight: lambda_r, what likeness inside a clip costs.
        length_weight: lambda_l, what the longest clip is worth.
        query: the question, needed with a scorer that reads one.
        scorer: a scorer of framegate.tokenizers.relevance or framegate.models.scorers, None for novelty.
        show_progress: draw a progress bar on a terminal.
        start_seconds: start of the clip window, None for the beginning.
        end_seconds: end of the clip window, None for the end.

    Returns:
        Different frames in order of time; scale is 1 / s of each one's clip, and the sum of its squares is K at most;
        group counts the clips. When there are no more candidates than K, all are taken whole and none is scored.

    Raises:
        ConfigError: a setting out of range, more anchors than the budget has frames of the smallest size, a scorer
            without the query that it reads, features or scores of a wrong shape or not finite.
        FrameError: a live source, frames in memory that have to be scored, or a window that holds no frame.
        VideoError: the file has gone, or nothing can be decoded.

    Source: F2C (arXiv 2510.02262) as a third-party port and reviews describe it; the centring of clips, frames that two
        clips share, and shares by the clips that there are: ours.
    """
    limits = [value for value in (num_frames, max_frames) if value is not None]
    budget = min(limits, default=DEFAULT_NUM_FRAMES)
    most = math.floor(max_shrinking**2 * budget)
    if num_anchors is not None and num_anchors > most:
        raise ConfigError(
            f"frame_to_clip.num_anchors is {num_anchors}; {budget} frames are {most} of the smallest size "
            f"(max_shrinking {max_shrinking:g}), so it must be at most {most}."
        )
    check_scorer(unwrapped(scorer), query, "frame_to_clip")
    window = (start_seconds, end_seconds)
    info = windowed(info, window)
    grid = every.sample(info, fps=fps, start_seconds=start_seconds, end_seconds=end_seconds)
    how = how_scored(scorer, query)
    if len(grid) <= budget:
        note = f"all {len(grid)} frames at {fps:g} per second were taken, so none was scored"
        return replace(grid, notes=(note, *how[1:]))
    scored, damage = score_file(
        info,
        grid,
        sampler="frame_to_clip",
        window_seconds=window,
        scorer=scorer,
        query=query,
        show_progress=show_progress,
    )
    ranks, scale, group = key_clips(
        scored.scores,
        scored.features,
        budget=budget,
        num_anchors=budget if num_anchors is None else num_anchors,
        max_shrinking=max_shrinking,
        redundancy_weight=redundancy_weight,
        length_weight=length_weight,
    )
    plan = FramePlan.from_indices(scored.indices[ranks], info.frame_times_seconds)
    return replace(
        plan,
        scale=scale,
        group=group,
        scores=scored.scores[ranks],
        time_code="clip",
        notes=(*how, *damage),
    )


@checked
def key_clips(
    scores: Float64Array,
    features: Float32Array,
    *,
    budget: Count,
    num_anchors: Count,
    max_shrinking: Shrinking = 2.0,
    redundancy_weight: Weight = 0.5,
    length_weight: Weight = 0.05,
) -> tuple[Int64Array, Float64Array, Int64Array]:
    """Choose clips among scored candidates.

    Args:
        scores: relevance r, float [N], finite.
        features: float [N, D], for likeness inside a clip.
        budget: K, in frames of full size.
        num_anchors: most clips, at most max_shrinking ** 2 * budget.
        max_shrinking: s_max.
        redundancy_weight: lambda_r.
        length_weight: lambda_l.

    Returns:
        Ranks int64 [M], different and ascending, the scale of each, float64 [M], and the number of its clip, int64
        [M]. Scales' squares sum up to the budget at most, but for rounding.

    Raises:
        FrameError: no score, scores or features that are not finite, or not as many of both.
        ConfigError: a setting out of range.

    Source: F2C (arXiv 2510.02262), Algorithm 1.
    """
    scores, rows = np.asarray(scores, np.float64), np.asarray(features, np.float64)
    if scores.ndim != 1 or rows.ndim != 2 or not len(scores) or len(scores) != len(rows):
        raise FrameError(
            f"scores are {scores.shape} and features {rows.shape}; they must be [N] and [N, D], N at least 1."
        )
    if not (np.isfinite(scores).all() and np.isfinite(rows).all()):
        raise FrameError("scores and features must be finite.")
    anchors = grouped_in_time(watershed_anchors(scores), scores, num_anchors)
    # clips that there are share the budget, so that a smooth relevance does not leave it unused
    share = budget / len(anchors)
    longest = math.floor(max_shrinking**2 * share)
    if longest < 1:
        raise ConfigError(
            f"key_clips.num_anchors is {num_anchors}; it must be at most {max_shrinking**2 * budget:g}."
        )
    worth = _Worth(scores, rows, redundancy_weight, length_weight)
    clips = [
        clip_around(int(anchor), worth.best_length(int(anchor), longest), len(scores)) for anchor in anchors
    ]
    scales = np.array([min(1.0, math.sqrt(share / (last - first + 1))) for first, last in clips])
    return laid_out(clips, scales, len(scores))


def watershed_anchors(scores: Float64Array) -> Int64Array:
    """Take the best frame of each basin between two valleys of relevance, float [N] -> int64 [A], ascending.

    Valleys are both ends and the first frame of each local minimum; of equal frames the earlier one.
    """
    ends = {0, len(scores) - 1}
    steps = np.flatnonzero(np.diff(scores))  # ranks whose next frame differs
    falls = np.diff(scores)[steps] < 0
    # a fall, whatever plateau, a rise: the minimum begins behind the fall
    valleys = sorted(
        ends | {int(steps[at]) + 1 for at in range(len(steps) - 1) if falls[at] and not falls[at + 1]}
    )
    basins = list(zip(valleys, valleys[1:], strict=False)) or [(0, 0)]
    return np.unique([first + int(np.argmax(scores[first : last + 1])) for first, last in basins]).astype(
        np.int64
    )


def grouped_in_time(anchors: Int64Array, scores: Float64Array, count: int) -> Int64Array:
    """Keep the best anchor of each of `count` groups in time, found by K-means on their ranks, ascending.

    Groups start evenly spread over the anchors; one that loses all of its anchors goes.
    """
    if len(anchors) <= count:
        return anchors
    places = anchors.astype(np.float64)
    centres = places[np.linspace(0, len(places) - 1, count).round().astype(np.int64)]
    before = np.full(len(places), -1)
    labels = _nearest(places, centres)
    while not np.array_equal(labels, before):
        centres = np.array([places[labels == label].mean() for label in np.unique(labels)])
        before, labels = labels, _nearest(places, centres)
    best = [anchors[labels == label] for label in np.unique(labels)]
    return np.array([group[np.argmax(scores[group])] for group in best], np.int64)


def _nearest(places: Float64Array, centres: Float64Array) -> Int64Array:
    """Number of the nearest centre, of two as near the earlier one; centres ascend."""
    return np.searchsorted((centres[1:] + centres[:-1]) / 2, places, side="left")


def clip_around(anchor: int, length: int, total: int) -> tuple[int, int]:
    """First and last rank of a clip; of an even length one more frame lies behind the anchor, and ends push it in."""
    first = max(0, min(anchor - (length - 1) // 2, total - length))
    return first, min(first + length, total) - 1


class _Worth:
    """What a clip of candidates is worth: S - lambda_r R + lambda_l l / l_max."""

    def __init__(
        self, scores: Float64Array, features: Float64Array, redundancy_weight: float, length_weight: float
    ) -> None:
        length = np.linalg.norm(features, axis=1, keepdims=True)
        unit = features / np.where(length > 0, length, 1.0)
        self.total = len(scores)
        self.redundancy_weight, self.length_weight = redundancy_weight, length_weight
        # sums before each rank, so that those of a clip are differences
        self.scores = np.concatenate([[0.0], np.cumsum(scores)])
        self.unit = np.concatenate([np.zeros((1, unit.shape[1])), np.cumsum(unit, axis=0)])
        self.squares = np.concatenate([[0.0], np.cumsum(np.sum(unit * unit, axis=1))])

    def best_length(self, anchor: int, longest: int) -> int:
        """The length of the clip that is worth most, of equal ones the shortest."""
        lengths = np.arange(1, min(longest, self.total) + 1)
        clips = [clip_around(anchor, int(length), self.total) for length in lengths]
        first, behind = np.array([(first, last + 1) for first, last in clips]).T
        mean = (self.scores[behind] - self.scores[first]) / lengths
        sums = self.unit[behind] - self.unit[first]  # [l_max, D]
        pairs = np.sum(sums * sums, axis=1) - (self.squares[behind] - self.squares[first])
        alike = pairs / np.maximum(lengths * (lengths - 1), 1)
        alike[0] = 0.0
        value = mean - self.redundancy_weight * alike + self.length_weight * lengths / longest
        return int(lengths[np.argmax(value)])


def laid_out(
    clips: list[tuple[int, int]], scales: Float64Array, total: int
) -> tuple[Int64Array, Float64Array, Int64Array]:
    """Lay clips over each other: ranks, scale and number of the clip of every frame in one of them.

    Clips of one scale that share a frame become one; a frame of several scales takes the largest. What that leaves of
    a clip on both sides of another counts as two.
    """
    owner, scale = np.full(total, -1), np.zeros(total)
    open_clips: dict[float, tuple[int, int]] = {}  # scale -> number and last rank of the clip before it
    for number, ((first, last), size) in sorted(
        enumerate(zip(clips, scales.tolist(), strict=True)), key=_by_start
    ):
        joined, end = open_clips.get(size, (number, -1))
        name = joined if first <= end else number
        open_clips[size] = name, max(last, end)
        finer: BoolArray = scale[first : last + 1] < size
        owner[first : last + 1][finer] = name
        scale[first : last + 1][finer] = size
    ranks = np.flatnonzero(owner >= 0)
    changes = (np.diff(owner[ranks]) != 0) | (np.diff(ranks) > 1)
    return ranks, scale[ranks], np.concatenate([[0], np.cumsum(changes)]).astype(np.int64)


def _by_start(clip: tuple[int, tuple[tuple[int, int], float]]) -> int:
    return clip[1][0][0]
