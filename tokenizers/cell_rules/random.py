"""Random cells: what any rule has to beat."""

from __future__ import annotations

from numpy.random import Generator

from framegate.types import Float64Array, UInt8Array

BASELINE = True
COMPARES = False
THRESHOLD: float | None = None


def score(before: UInt8Array, after: UInt8Array, rng: Generator) -> Float64Array:
    """Draw a score for every cell, without regard to what it shows; the first tube has no privilege.

    Args:
        before: not read.
        after: cells of the tube, [H, W, ...], which are only counted.
        rng: the same seed and shape give the same scores.

    Returns:
        float64 [H, W] in [0, 1).
    """
    return rng.random(after.shape[:2])
