"""Where a token stands: sinusoids of seconds, and learned rows and columns."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LONGEST_SECONDS = 10_000.0


def time_embedding(times_seconds: Tensor, width: int) -> Tensor:
    """Sines and cosines of the time, [S] -> [S, width].

    Wavelengths run from 2 pi seconds to 2 pi times 10,000, as in Vaswani et al. (arXiv 1706.03762), so that seconds
    and hours can both be told apart; an odd last value is 0.
    """
    half = width // 2
    steps = torch.arange(half, device=times_seconds.device, dtype=times_seconds.dtype) / max(half, 1)
    angle = times_seconds[:, None] * torch.exp(-math.log(LONGEST_SECONDS) * steps)
    found = torch.cat([angle.sin(), angle.cos()], dim=1)
    return torch.nn.functional.pad(found, (0, width - 2 * half))


def side_embedding(table: Tensor, position: Tensor, side: int) -> Tensor:
    """Embedding of rows or columns.

    Args:
        table: [max_side, D].
        position: row or column of each token, int64 [n], in [0, side).
        side: rows or columns of the grid.

    Returns:
        The table's rows [n, D]; for sides longer than the table linearly interpolated, its ends on the grid's ends.
    """
    if side <= len(table):
        return table[position]
    place = position.to(table) * ((len(table) - 1) / (side - 1))
    below = place.floor().long().clamp(max=len(table) - 2)
    return torch.lerp(table[below], table[below + 1], (place - below)[:, None])
