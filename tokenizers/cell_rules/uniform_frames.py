"""Uniform frames: whole tubes, as if the video had been sampled at a lower rate."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def keep(shape: tuple[int, int, int], tokens: int) -> npt.NDArray[np.bool_]:
    """Choose whole tubes, evenly spread from the first on.

    Args:
        shape: tubes, rows and columns of cells.
        tokens: most cells to keep; what does not fill a tube is left unspent.

    Returns:
        bool [T, H, W]; nothing where the tokens do not fill one tube.

    Source: ours.
    """
    tubes, rows, columns = shape
    count = min(tokens // (rows * columns), tubes)
    chosen = np.zeros(shape, bool)
    chosen[np.arange(count) * tubes // max(count, 1)] = True
    return chosen
