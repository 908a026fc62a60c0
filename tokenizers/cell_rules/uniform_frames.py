"""Uniform frames: whole tubes, as if the video had been sampled at a lower rate."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from framegate.types import BoolArray, Float64Array, UInt8Array

BASELINE = True
COMPARES = False
THRESHOLD: float | None = None


def score(before: UInt8Array, after: UInt8Array, rng: Generator) -> Float64Array:
    """Find all cells [H, W, ...] of a tube alike: float64 zeros [H, W]."""
    return np.zeros(after.shape[:2])


def keep(scores: Float64Array, tokens: int) -> BoolArray:
    """Choose whole tubes, evenly spread from the first on.

    Args:
        scores: [T, H, W], not read.
        tokens: most cells to keep; what does not fill a tube is left unspent.

    Returns:
        bool [T, H, W]; nothing where the tokens do not fill one tube.
    """
    tubes, rows, columns = scores.shape
    count = min(tokens // (rows * columns), tubes)
    chosen = np.zeros(scores.shape, bool)
    chosen[np.arange(count) * tubes // max(count, 1)] = True
    return chosen
