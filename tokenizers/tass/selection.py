"""The greedy choice of TASS: highest scores first, never closer than a least distance that halves each round."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Iterator

import numpy as np

from framegate.errors import ConfigError, FrameError
from framegate.types import Float64Array, Int64Array

# Candidates are the best of this many times the frames wanted.
CANDIDATES_PER_FRAME = 4
# Times such as 1/30 s have no exact float: frames closer by this share still keep the distance.
SLACK = 1e-6


def temporally_regularised(
    scores: Float64Array,
    times_seconds: Float64Array,
    num_frames: int,
    *,
    min_gap_seconds: float,
    stop_gap_seconds: float,
) -> Int64Array:
    """Choose frames of high score that keep apart in time.

    Candidates score above the mean, at most 4 * num_frames of the best. Rounds of least distance min_gap, half
    of it, a quarter, ... take candidates by descending score, as long as the distance is above stop_gap; the
    rest is filled by score, from the candidates, then from all. Equal scores: the earlier frame first.

    Args:
        scores: float [F], finite, higher is better.
        times_seconds: float [F], not decreasing.
        num_frames: K, at least 1.
        min_gap_seconds: least distance in the first round, above 0.
        stop_gap_seconds: rounds end when the distance is this or less, above 0; use the frames' spacing.

    Returns:
        int64 [min(K, F)], indices into scores, different and ascending.

    Raises:
        FrameError: lengths differ, no score, scores not finite, or times that go back.
        ConfigError: num_frames below 1, or a distance not above 0 or not finite.

    Source: DATE (arXiv 2509.09263) TASS; the stop of the halving and the top-up to K are ours (the released
        code returns fewer than K frames when fewer score above the mean).
    """
    _check(scores, times_seconds, num_frames, min_gap_seconds, stop_gap_seconds)
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
    """Run the greedy rounds.

    Args:
        candidates: indices of frames, best first.
        times_seconds: float [F].
        num_frames: rounds end when this many are chosen.
        min_gap_seconds: least distance in the first round, above 0.
        stop_gap_seconds: rounds end when the distance is this or less, above 0.

    Returns:
        Iterator over rounds: the least distance, and all chosen so far, in order of choice.

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


def _check(
    scores: Float64Array, times_seconds: Float64Array, num_frames: int, min_gap: float, stop_gap: float
) -> None:
    if len(scores) == 0 or np.shape(scores) != np.shape(times_seconds):
        raise FrameError(
            f"scores are {np.shape(scores)} and times_seconds {np.shape(times_seconds)}; they must be [F], F at "
            "least 1."
        )
    if not np.isfinite(scores).all() or not (np.diff(times_seconds) >= 0).all():
        raise FrameError("scores must be finite, and times_seconds must not go back.")
    if num_frames < 1:
        raise ConfigError(f"num_frames is {num_frames}; it must be at least 1.")
    for name, value in (("min_gap_seconds", min_gap), ("stop_gap_seconds", stop_gap)):
        if not (value > 0 and math.isfinite(value)):
            raise ConfigError(f"{name} is {value}; it must be above 0 and finite.")
