"""EVS: efficient video sampling, on pixels."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from framegate.types import Float32Array, UInt8Array

BASELINE = True
COMPARES = True
THRESHOLD: float | None = None
SMALLEST_NORM = 1e-6


def score(before: UInt8Array, after: UInt8Array, rng: Generator) -> Float32Array:
    """Take one minus the cosine of a cell's RGB values and those of the same cell in the tube before.

    Args:
        before: cells of the tube before, uint8 [H, W, k, cell, cell, 3].
        after: cells of the tube, likewise.
        rng: not read.

    Returns:
        float32 [H, W] in [0, 1]; a black cell, which has no direction, is as far as can be from all but a black one.

    Source: EVS (arXiv 2510.14624) with the measure of its implementation in vLLM, on pixels so that the tower is
        spared. The paper takes the L1 norm of pixels, which ranks cells as "dtd" does; vLLM takes the cosine of
        embeddings after the tower.
    """
    rows = [cells.reshape(*cells.shape[:2], -1).astype(np.float32) for cells in (before, after)]
    lengths = [np.linalg.norm(cells, axis=-1) for cells in rows]
    cosine = np.einsum("hwd,hwd->hw", *rows) / np.maximum(lengths[0] * lengths[1], SMALLEST_NORM)
    # black that stays black has no direction, and has not changed
    different: Float32Array = np.where(lengths[0] + lengths[1] > 0, 1 - cosine, np.float32(0))
    return different
