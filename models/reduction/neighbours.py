"""Which tokens are neighbours: in time, in space, and in reading order."""

from __future__ import annotations

import torch
from torch import Tensor


def near_pairs(tyx: Tensor) -> Tensor:
    """Pair the tokens of a video with those next to them.

    Args:
        tyx: tube, row and column of each token, int64 [n, 3], different ones.

    Returns:
        Pairs of token numbers, int64 [E, 2], the earlier one first: each token with the next one at the same cell,
        the next one in its row and the next one in its column of the same tube. Tokens between which no other stands
        are next to each other, for condensation leaves some at every second or fourth cell only.
    """
    tube, row, column = tyx.T
    return torch.cat(
        [
            _next_of(tyx, (row, column, tube)),
            _next_of(tyx, (tube, row, column)),
            _next_of(tyx, (tube, column, row)),
        ]
    )


def chain_pairs(count: int) -> Tensor:
    """Pair each of count tokens with the one read after it, int64 [count - 1, 2]."""
    first = torch.arange(max(count - 1, 0))
    return torch.stack([first, first + 1], dim=1)


def _next_of(tyx: Tensor, key: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """Pair tokens that follow each other along the last of three coordinates, the first two being equal."""
    sides = tyx.max(0).values + 1 if len(tyx) else tyx.new_ones(3)
    side = int(sides.max())
    line = key[0] * side + key[1]
    order = (line * side + key[2]).argsort()
    same = line[order].diff() == 0
    return torch.stack([order[:-1][same], order[1:][same]], dim=1)
