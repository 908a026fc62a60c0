"""Frames by count, as papers choose them, in videos of any rate: the count stands for time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from framegate.types import Float64Array, Int64Array

# np.floor or np.rint, whichever the paper's code takes
Rounding = Callable[[Float64Array], Float64Array]


def evenly(
    times_seconds: Float64Array, first: int, last: int, count: int, rounding: Rounding = np.floor
) -> Int64Array:
    """Spread ranks of frames from one to another, both included: int64 [min(count, frames there)], all different.

    At a constant rate `rounding(linspace(first, last, count))`, else as `in_time` has it.
    """
    there = last - first + 1
    ranks = rounding(np.linspace(first, last, min(count, there))) - first
    return first + made_distinct(in_time(times_seconds[first : last + 1], ranks), there)


def in_time(times_seconds: Float64Array, ranks: Float64Array | Int64Array) -> Int64Array:
    """Turn ranks in a video of constant rate, of as many frames and as long, into those of the frames nearest in time.

    Where the rate of times_seconds, float64 [F], is constant these are the ranks themselves.
    """
    span_seconds = times_seconds[-1] - times_seconds[0]
    if span_seconds <= 0:
        return np.asarray(ranks).astype(np.int64)
    return nearest(times_seconds, times_seconds[0] + ranks * (span_seconds / (len(times_seconds) - 1)))


def nearest(times_seconds: Float64Array, moments_seconds: Float64Array) -> Int64Array:
    """Rank of the time nearest to each moment, of two as near the earlier one."""
    after = np.minimum(np.searchsorted(times_seconds, moments_seconds), len(times_seconds) - 1)
    before = np.maximum(after - 1, 0)
    is_before = moments_seconds - times_seconds[before] <= times_seconds[after] - moments_seconds
    return np.where(is_before, before, after)


def made_distinct(ranks: Int64Array, total: int) -> Int64Array:
    """Spread ranks that coincide (a variable-rate file shows some frames long) to free ones beside them."""
    steps = np.arange(len(ranks))
    forward = np.maximum.accumulate(ranks - steps) + steps
    return np.minimum(forward, total - len(ranks) + steps)
