"""RLT: is a token's last frame what the token before began with?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from framegate.tokenizers.cell_rules.difference import mean_difference
from framegate.types import UInt8Array


def distance(before: UInt8Array, after: UInt8Array) -> npt.NDArray[np.float64]:
    """Compare the first frame of the tube before with the last frame of this one, in RGB.

    Args:
        before: cells of the tube before, uint8 [H, W, k, cell, cell, 3].
        after: cells of the tube, likewise.

    Returns:
        Mean absolute difference, float64 [H, W] in [0, 255].

    Source: RLT (arXiv 2411.05222), section on static patches; per cell (2 x 2 patches in Qwen-VL) instead of per patch,
        and without its run-length embedding, which needs training: ours.
    """
    return mean_difference(before[:, :, :1], after[:, :, -1:])
