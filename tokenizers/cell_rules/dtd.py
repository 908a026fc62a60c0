"""DTD: differential token drop of TimeChat-Online, on pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from framegate.tokenizers.cell_rules.difference import mean_difference
from framegate.types import UInt8Array


def distance(before: UInt8Array, after: UInt8Array) -> npt.NDArray[np.float64]:
    """Compare a tube with the tube before, frame by frame, in RGB.

    Args:
        before: cells of the tube before, uint8 [H, W, k, cell, cell, 3].
        after: cells of the tube, likewise.

    Returns:
        Mean absolute difference, float64 [H, W] in [0, 255].

    Source: TimeChat-Online (arXiv 2504.17343), pixel-level redundancy (L1 of neighbouring patches). Its released code
        compares the first frame of a tube of two with the last of the next, as RLT does; whole tubes: ours.
    """
    return mean_difference(before, after)
