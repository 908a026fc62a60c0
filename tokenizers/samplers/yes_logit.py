"""Frames of which a model itself says that they hold the answer: SeViLA's localizer, its top-k and its spans."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from framegate.errors import ConfigError, FrameError
from framegate.settings import Count, PerCall, Positive, checked
from framegate.tokenizers.clip.window import windowed
from framegate.tokenizers.relevance import check_scorer
from framegate.tokenizers.samplers import uniform
from framegate.tokenizers.scoring import reads_query, score_file, unwrapped
from framegate.types import Float64Array, FramePlan, Int64Array, VideoInfo


@checked
def sample(
    info: VideoInfo,
    *,
    num_candidates: Count = 32,
    num_frames: Count = 4,
    max_frames: Count | None = None,
    query: PerCall[str | None] = None,
    scorer: PerCall[object | None] = None,
    show_progress: PerCall[bool] = False,
    start_seconds: PerCall[float | None] = None,
    end_seconds: PerCall[float | None] = None,
) -> FramePlan:
    """Choose the evenly spread frames that score highest for a question.

    Args:
        info: a video file.
        num_candidates: n, frames that are scored.
        num_frames: k, frames that are chosen of them.
        max_frames: no more than this, None for no limit.
        query: the question.
        scorer: `framegate.models.scorers.YesLogit(model, processor)`, or any other scorer that reads a query.
        show_progress: draw a progress bar on a terminal.
        start_seconds: start of the clip window, None for the beginning.
        end_seconds: end of the clip window, None for the end.

    Returns:
        min(k, max_frames, frames of the window) different frames in order of time, of equal scores the earlier ones.
        When there are no more candidates than that, all are taken and none is scored.

    Raises:
        ConfigError: a number out of range, more frames than candidates, no scorer or no query, a scorer that reads
            none, scores of a wrong shape or not finite.
        FrameError: a live source, frames in memory that have to be scored, or a window that holds no frame.
        VideoError: the file has gone, or nothing can be decoded.

    Source: SeViLA (arXiv 2305.06988): 32 frames, the 4 best in order of time.
    """
    if num_frames > num_candidates:
        raise ConfigError(
            f"yes_logit.num_frames is {num_frames}; it must be at most num_candidates, {num_candidates}."
        )
    check_scorer(unwrapped(scorer), query, "yes_logit")
    if query is None or not reads_query(scorer):
        raise ConfigError(
            "yes_logit needs a query and a scorer that reads it: framegate.plan_frames(video, 'yes_logit', "
            "query='...', scorer=framegate.models.scorers.YesLogit(model, processor))."
        )
    window = (start_seconds, end_seconds)
    info = windowed(info, window)
    grid = uniform.sample(
        info, num_frames=num_candidates, start_seconds=start_seconds, end_seconds=end_seconds
    )
    count = min(num_frames, max_frames or num_frames)
    if len(grid) <= count:
        return replace(grid, notes=(f"all {len(grid)} frames were taken, so none was scored",))
    scored, damage = score_file(
        info,
        grid,
        sampler="yes_logit",
        window_seconds=window,
        scorer=scorer,
        query=query,
        show_progress=show_progress,
    )
    ranks = top_in_order(scored.scores, count)
    plan = FramePlan.from_indices(scored.indices[ranks], info.frame_times_seconds)
    return replace(plan, scores=scored.scores[ranks], notes=damage)


def top_in_order(scores: Float64Array, count: int) -> Int64Array:
    """Ranks of the highest scores, float [N] -> int64 [min(count, N)], ascending; of equal ones the earlier."""
    return np.sort(np.argsort(-np.asarray(scores, np.float64), kind="stable")[:count])


@checked
def spans(
    scores: Float64Array, times_seconds: Float64Array, *, above: float = 0.0, max_gap_seconds: Positive = 2.0
) -> Float64Array:
    """Find the moments that frames speak for: neighbouring frames with a score above a threshold, joined.

    Args:
        scores: float [N], finite; of yes less no (mode "margin") the threshold is 0.
        times_seconds: float [N], not decreasing.
        above: frames that score more than this count.
        max_gap_seconds: frames that count lie in one span when they are no further apart.

    Returns:
        float64 [S, 2], times of the first and the last frame of each span, in order.

    Raises:
        FrameError: lengths differ, scores not finite, or times that go back.
        ConfigError: a setting out of range.

    Source: SeViLA (arXiv 2305.06988), moment retrieval: frames at 0.5 per second, positive ones merged.
    """
    if np.shape(scores) != np.shape(times_seconds) or np.ndim(scores) != 1:
        raise FrameError(
            f"scores are {np.shape(scores)} and times_seconds {np.shape(times_seconds)}; both are [N]."
        )
    if not np.isfinite(scores).all() or not (np.diff(times_seconds) >= 0).all():
        raise FrameError("scores must be finite, and times_seconds must not go back.")
    moments = np.asarray(times_seconds, np.float64)[np.asarray(scores) > above]
    parts = np.split(moments, np.flatnonzero(np.diff(moments) > max_gap_seconds) + 1)
    return np.array([(part[0], part[-1]) for part in parts if len(part)]).reshape(-1, 2)
