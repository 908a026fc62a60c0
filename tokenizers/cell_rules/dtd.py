"""DTD: differential token drop of TimeChat-Online, on pixels."""

from __future__ import annotations

from numpy.random import Generator

from framegate.tokenizers.cell_rules.rlt import THRESHOLD as RLT_THRESHOLD
from framegate.tokenizers.cell_rules.rlt import mean_difference
from framegate.types import Float64Array, UInt8Array

BASELINE = True
COMPARES = True
THRESHOLD: float | None = RLT_THRESHOLD


def score(before: UInt8Array, after: UInt8Array, rng: Generator) -> Float64Array:
    """Compare a tube with the tube before, frame by frame, in RGB.

    Args:
        before: cells of the tube before, uint8 [H, W, k, cell, cell, 3].
        after: cells of the tube, likewise.
        rng: not read.

    Returns:
        Mean absolute difference, float64 [H, W] in [0, 255].

    Source: TimeChat-Online (arXiv 2504.17343), pixel-level redundancy (L1 of neighbouring patches), over whole tubes:
        its released code compares the first frame of a tube of two with the last of the next, as RLT does.
    """
    return mean_difference(before, after)
