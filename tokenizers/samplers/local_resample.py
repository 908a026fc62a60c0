"""More frames around chosen ones: EARL's localized re-sampling."""

from __future__ import annotations

import numpy as np

from framegate.errors import ConfigError, FrameError
from framegate.settings import Count, PerCall, checked
from framegate.tokenizers.clip.same_video import check_same_video
from framegate.tokenizers.clip.window import window_frames, windowed
from framegate.tokenizers.samplers._spaced import evenly
from framegate.types import Float64Array, FramePlan, Int64Array, VideoInfo


@checked
def sample(
    info: VideoInfo,
    *,
    num_frames: Count = 16,
    initial_frames: Count = 32,
    max_frames: Count | None = None,
    current: PerCall[object | None] = None,
    selected: PerCall[tuple[int, ...]] = (),
    start_seconds: PerCall[float | None] = None,
    end_seconds: PerCall[float | None] = None,
) -> FramePlan:
    """Choose frames around those that were selected among the current ones; nothing is decoded.

    The stretch from the frame before to the frame after each selected one, or to the window's end, is sampled anew;
    stretches that meet are one, and share num_frames by their lengths.

    Args:
        info: a video whose frame times are known.
        num_frames: N, the frames of a selection.
        initial_frames: frames to start with, from the first to the last.
        max_frames: no more than this of either, None for no limit.
        current: the frame plan that was selected from, for example what this sampler gave before; None for the
            initial frames.
        selected: places in the current plan, from 0; none gives the initial frames.
        start_seconds: start of the clip window, None for the beginning.
        end_seconds: end of the clip window, None for the end.

    Returns:
        Different frames in order of time, the selected ones among them; group counts stretches. A stretch with fewer
        frames than its share gives all that it has: a note says that there is nothing more to see.

    Raises:
        ConfigError: a setting out of range, something else in place of a plan, or a plan from which nothing was
            selected.
        FrameError: a live source, a window that holds no frame, a plan for another video or window, a place that the
            plan does not have, or more frames selected than num_frames.

    Source: EARL (arXiv 2510.15440): 32 frames, neighbours, N = 16. Merging, shares by length, and that selected frames
        stay: ours, for the paper does not say.
    """
    window = (start_seconds, end_seconds)
    inside, stamped = window_frames(info, window), windowed(info, window)
    times = info.frame_times_seconds[inside]
    limit = max_frames or max(num_frames, initial_frames)
    count = min(num_frames, limit)
    if current is None:
        ranks = evenly(times, 0, len(times) - 1, min(initial_frames, limit))
    else:
        ranks = _ranks_of(current, stamped, inside)
        if not selected:
            raise ConfigError(
                "local_resample.selected is empty, and a current plan is given; select frames of it."
            )
    if not selected:
        return FramePlan.from_indices(inside[ranks], stamped.frame_times_seconds)
    chosen = _chosen(ranks, selected, count)
    stretches = around(ranks, chosen, len(times) - 1)
    least = np.array([np.sum((chosen >= first) & (chosen <= last)) for first, last in stretches])
    there = stretches[:, 1] - stretches[:, 0] + 1
    quotas = shared(times[stretches[:, 1]] - times[stretches[:, 0]], least, count)
    parts = [
        inside[with_chosen(evenly(times, first, last, quota), chosen[(chosen >= first) & (chosen <= last)])]
        for (first, last), quota in zip(stretches.tolist(), quotas.tolist(), strict=True)
    ]
    spent = int(np.sum(there < quotas))
    notes = (f"{spent} of {len(parts)} stretches have fewer frames than their share",) if spent else ()
    return FramePlan.from_groups(parts, stamped.frame_times_seconds, notes=notes)


def _ranks_of(current: object, info: VideoInfo, inside: Int64Array) -> Int64Array:
    if not isinstance(current, FramePlan):
        raise ConfigError(
            f"local_resample.current is a {type(current).__name__}; give a FramePlan, as framegate.plan_frames makes "
            "it."
        )
    check_same_video(current, info)
    first, last = int(current.indices[0]), int(current.indices[-1])
    if first < inside[0] or last > inside[-1]:
        raise FrameError(
            f"The current plan names frames {first} to {last}, and the clip window holds {inside[0]} to {inside[-1]}; "
            "plan with the same window."
        )
    return current.indices - inside[0]


def _chosen(ranks: Int64Array, selected: tuple[int, ...], count: int) -> Int64Array:
    for at, place in enumerate(selected):
        if not 0 <= place < len(ranks):
            raise FrameError(
                f"local_resample.selected[{at}] is {place}; the current plan has {len(ranks)} frames, 0 to "
                f"{len(ranks) - 1}."
            )
    chosen = np.unique(ranks[list(selected)])
    if len(chosen) > count:
        raise FrameError(
            f"local_resample.selected holds {len(chosen)} frames, and only {count} may be planned; select fewer, or "
            "raise num_frames."
        )
    return chosen


def around(ranks: Int64Array, chosen: Int64Array, last: int) -> Int64Array:
    """Stretches from the neighbour before to the neighbour after each chosen rank, at the ends from 0 and to `last`.

    int64 [S, 2], first and last rank of each, ascending; those that meet are one.
    """
    known = np.unique(ranks)
    at = np.searchsorted(known, chosen)
    bounded = np.concatenate([[0], known, [last]])
    before, after = bounded[at], bounded[at + 2]
    is_apart = before[1:] > after[:-1]
    return np.stack([before[np.append(True, is_apart)], after[np.append(is_apart, True)]], axis=1)


def shared(lengths: Float64Array, least: Int64Array, total: int) -> Int64Array:
    """Share a number by lengths, the largest remainders rounded up, no share below its least; these sum to no more."""
    quotas, is_free = least.copy(), np.ones(len(least), bool)
    lengths = np.maximum(lengths, 1e-9)
    while is_free.any():
        ideal = lengths[is_free] * ((total - quotas[~is_free].sum()) / lengths[is_free].sum())
        whole = np.floor(ideal).astype(np.int64)
        left = total - int(quotas[~is_free].sum()) - int(whole.sum())
        whole[np.argsort(whole - ideal, kind="stable")[:left]] += 1
        is_short = whole < least[is_free]
        if not is_short.any():
            quotas[is_free] = whole
            break
        is_free[np.flatnonzero(is_free)[is_short]] = False
    return quotas


def with_chosen(ranks: Int64Array, chosen: Int64Array) -> Int64Array:
    """Let chosen ranks take the places of the nearest others; int64 [R], ascending, where R is no less than theirs."""
    for rank in np.setdiff1d(chosen, ranks):
        others = np.setdiff1d(ranks, chosen)
        ranks = np.where(ranks == others[np.argmin(np.abs(others - rank))], rank, ranks)
    return np.sort(ranks)
