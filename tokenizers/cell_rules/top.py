"""The cells of the highest scores."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def top(scores: npt.NDArray[np.floating], tokens: int) -> npt.NDArray[np.bool_]:
    """Choose the cells of the highest scores; ties go to the earlier cell.

    Args:
        scores: [T, H, W].
        tokens: how many cells; all where there are fewer.

    Returns:
        bool [T, H, W].

    Source: ours.
    """
    keep = np.zeros(scores.size, bool)
    keep[np.argsort(-scores.ravel(), kind="stable")[:tokens]] = True
    return keep.reshape(scores.shape)
