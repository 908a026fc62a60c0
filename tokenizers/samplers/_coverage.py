"""Frames between keyframes: added where a gap is too long, taken away where there are too many.

Frames are ranks into the times of a clip window: int64, different, ascending.
"""

from __future__ import annotations

import heapq

import numpy as np

from framegate.types import Float64Array, Int64Array

# Times such as 1/30 s have no exact float: 0.3 / 0.1 is three, and a gap this little too long is not.
SLACK = 1e-9


def compensated(times_seconds: Float64Array, keyframes: Int64Array, max_gap_seconds: float) -> Int64Array:
    """Add the first and last frame, and evenly spaced frames wherever the distance is too long.

    A gap of T_k above the longest one allowed, m, gets n_k = floor(T_k / m) frames, at the frames nearest to equal
    parts. Where that leaves a gap above m, as there is no frame exactly there, the next larger n_k that leaves none
    is taken. Where none does (the file itself has holes), the parts that are too long are treated the same way.

    Args:
        times_seconds: float64 [F], not decreasing, F at least 1.
        keyframes: int64 [K], ranks into them, ascending.
        max_gap_seconds: m, above 0.

    Returns:
        int64 [S], ranks, ascending, the keyframes among them; a gap above m has no frame inside.

    Source: KFFocus (arXiv 2508.08989), n_k = floor(T_k / (delta T)); head, tail and the larger n_k are ours.
    """
    chosen = np.union1d(keyframes, [0, len(times_seconds) - 1]).astype(np.int64)
    while len(wide := _too_wide(times_seconds, chosen, max_gap_seconds)):
        added = [_between(times_seconds, int(chosen[i]), int(chosen[i + 1]), max_gap_seconds) for i in wide]
        chosen = np.union1d(chosen, np.concatenate(added))
    return chosen


def _too_wide(times: Float64Array, chosen: Int64Array, max_gap: float) -> Int64Array:
    """Places in `chosen` behind which there is a gap that is too long and has a frame inside."""
    gaps = np.diff(times[chosen])
    return np.flatnonzero((gaps > max_gap * (1 + SLACK)) & (np.diff(chosen) > 1))


def _between(times: Float64Array, first: int, last: int, max_gap: float) -> Int64Array:
    """Ranks of the compensation frames strictly between two frames."""
    parts = (times[last] - times[first]) / max_gap + SLACK
    if parts >= last - first - 1:
        return np.arange(first + 1, last)
    least = int(parts)
    for count in range(least, min(2 * least + 2, last - first)):
        ranks = _evenly(times, first, last, count)
        if not len(_too_wide(times, np.array([first, *ranks, last]), max_gap)):
            return ranks
    return _evenly(times, first, last, least)


def _evenly(times: Float64Array, first: int, last: int, count: int) -> Int64Array:
    """Ranks strictly between two frames, nearest to the points that cut their distance into equal parts."""
    moments = times[first] + (times[last] - times[first]) * np.arange(1, count + 1) / (count + 1)
    return np.unique(first + 1 + _nearest(times[first + 1 : last], moments))


def _nearest(times: Float64Array, moments: Float64Array) -> Int64Array:
    """Rank of the time nearest to each moment, of two as near the earlier one."""
    after = np.minimum(np.searchsorted(times, moments), len(times) - 1)
    before = np.maximum(after - 1, 0)
    return np.where(moments - times[before] <= times[after] - moments, before, after)


def filled(times_seconds: Float64Array, chosen: Int64Array, num_frames: int) -> Int64Array:
    """Halve the longest gap, again and again, until there are enough frames.

    Args:
        times_seconds: float64 [F], not decreasing.
        chosen: int64 [S], ranks, ascending, the first and last frame among them.
        num_frames: frames wanted.

    Returns:
        int64 [min(num_frames, F)], or [S] when that is more; of equal gaps the earlier one is halved first.
    """
    ranks = [int(rank) for rank in chosen]
    gaps = [_gap(times_seconds, first, last) for first, last in zip(ranks, ranks[1:], strict=False)]
    gaps = [gap for gap in gaps if gap[2] - gap[1] > 1]
    heapq.heapify(gaps)
    while gaps and len(ranks) < num_frames:
        _, first, last = heapq.heappop(gaps)
        centre = (times_seconds[first] + times_seconds[last]) / 2
        middle = first + 1 + int(_nearest(times_seconds[first + 1 : last], np.array([centre]))[0])
        ranks.append(middle)
        for part in ((first, middle), (middle, last)):
            if part[1] - part[0] > 1:
                heapq.heappush(gaps, _gap(times_seconds, *part))
    return np.array(sorted(ranks), np.int64)


def _gap(times: Float64Array, first: int, last: int) -> tuple[float, int, int]:
    return float(times[first] - times[last]), first, last


def thinned(
    times_seconds: Float64Array, chosen: Int64Array, keyframes: Int64Array, num_frames: int
) -> Int64Array:
    """Leave frames out, each time the one whose absence leaves the shortest gap; keyframes go last.

    Args:
        times_seconds: float64 [F], not decreasing.
        chosen: int64 [S], ranks, ascending.
        keyframes: int64 [K], ranks of keyframes, ascending.
        num_frames: frames that may stay, at least 1.

    Returns:
        int64 [min(num_frames, S)], the first and the last of chosen among them (the first alone for 1); of
        equal gaps the earlier frame goes first.
    """
    if num_frames == 1:
        return chosen[:1]
    times = times_seconds[chosen]
    is_key = np.isin(chosen, keyframes)
    before, after = np.arange(len(chosen)) - 1, np.arange(len(chosen)) + 1

    def entry(at: int) -> tuple[bool, float, int, int, int]:
        left, right = int(before[at]), int(after[at])
        return bool(is_key[at]), float(times[right] - times[left]), at, left, right

    queue = [entry(at) for at in range(1, len(chosen) - 1)]
    heapq.heapify(queue)
    stays = np.ones(len(chosen), bool)
    for _ in range(len(chosen) - num_frames):
        _, _, at, left, right = heapq.heappop(queue)
        # entries of before a neighbour went are stale
        while not stays[at] or (left, right) != (before[at], after[at]):
            _, _, at, left, right = heapq.heappop(queue)
        stays[at] = False
        after[left], before[right] = right, left
        for side in (left, right):
            if 0 < side < len(chosen) - 1:
                heapq.heappush(queue, entry(side))
    return chosen[stays]
