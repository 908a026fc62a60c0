"""Random cells: what any rule has to beat."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def scores(shape: tuple[int, int, int], *, seed: int) -> npt.NDArray[np.float64]:
    """Draw a score for every cell, without regard to what it shows; the first tube has no privilege.

    Args:
        shape: tubes, rows and columns of cells.
        seed: 0 or above; the same seed and shape give the same scores.

    Returns:
        float64 [T, H, W] in [0, 1).

    Source: ours.
    """
    return np.random.default_rng(seed).random(shape)
