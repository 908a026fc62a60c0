"""Segments cut into tiles of queries, one program each."""

from __future__ import annotations

import torch
from torch import Tensor


def tiles_of(cu_seqlens_q: Tensor, num_queries: int, size: int) -> tuple[Tensor, Tensor]:
    """Cut segments into tiles of queries, without asking a device how long they are.

    Args:
        cu_seqlens_q: int32 [S + 1].
        num_queries: N.
        size: queries of a tile.

    Returns:
        Segment of each tile, int32, S for tiles that are not needed; and its first query, int64.
    """
    lengths = cu_seqlens_q.diff().long()
    behind = ((lengths + size - 1) // size).cumsum(0)
    # the most that any lengths could take
    tile = torch.arange(num_queries // size + len(lengths), device=cu_seqlens_q.device)
    segment = torch.searchsorted(behind, tile, right=True)
    inside = segment.clamp(max=len(lengths) - 1)
    number = tile - (behind - (lengths + size - 1) // size)[inside]
    return segment.int(), cu_seqlens_q[inside].long() + number * size
