"""EVS: efficient video sampling, on pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from framegate.types import UInt8Array

SMALLEST_NORM = 1e-6


def distance(before: UInt8Array, after: UInt8Array) -> npt.NDArray[np.float32]:
    """Take one minus the cosine of a cell's RGB values and those of the same cell in the tube before.

    Args:
        before: cells of the tube before, uint8 [H, W, k, cell, cell, 3].
        after: cells of the tube, likewise.

    Returns:
        float32 [H, W] in [0, 1]; a black cell is as far from everything as can be.

    Source: EVS (arXiv 2510.14624) with the measure of its implementation in vLLM. The paper takes the L1 norm of
        pixels, which ranks cells as "dtd" does; vLLM takes the cosine of embeddings after the tower. Cosine of pixels,
        so that the tower is spared: ours.
    """
    rows = [cells.reshape(*cells.shape[:2], -1).astype(np.float32) for cells in (before, after)]
    norms = np.linalg.norm(rows[0], axis=-1) * np.linalg.norm(rows[1], axis=-1)
    cosine = np.einsum("hwd,hwd->hw", *rows) / np.maximum(norms, SMALLEST_NORM)
    different: npt.NDArray[np.float32] = 1 - cosine
    return different
