"""Kept rows of a clip, packed, and the rows that stand for those that were skipped."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

ANGLE = 3.0


@dataclass(frozen=True)
class Packing:
    """A clip after the gate.

    Args:
        rows: packed row that stands for each row of each tube, int64 [M].
        skipped: where that row is an earlier tube's, bool [M].
        lengths_q: kept rows of each segment, int64 [S].
        lengths_k: rows of each segment, int64 [S].
    """

    rows: Tensor
    skipped: Tensor
    lengths_q: Tensor
    lengths_k: Tensor

    @property
    def num_kept(self) -> int:
        """Packed rows, N."""
        return int(self.lengths_q.sum())


def packing(tubes: int, rows: int, ratio: float, *, window: int, generator: torch.Generator) -> Packing:
    """Keep the first tube whole and a share of each later one, at random.

    Args:
        tubes: T.
        rows: of a tube, R.
        ratio: the share.
        window: rows of a segment, which divides R.
        generator: of the random choice.

    Returns:
        The packing, of M = T * R rows in S = M / window segments.

    Source: ours.
    """
    keep = torch.zeros(tubes, rows, dtype=torch.bool)
    order = torch.rand(tubes, rows, generator=generator).argsort(1)
    keep.scatter_(1, order[:, : round(ratio * rows)], True)
    keep[0] = True
    packed = keep.flatten().cumsum(0).reshape(tubes, rows) - 1
    # packed numbers grow from tube to tube, so of a place the newest is the largest
    newest = torch.where(keep, packed, -1).cummax(0).values
    lengths_q = keep.reshape(-1, window).sum(1)  # [T * R / window]
    return Packing(newest.flatten(), ~keep.flatten(), lengths_q, torch.full_like(lengths_q, window))


def turn_of(packed: Packing, width: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Turn the keys of skipped rows, as a camera that moved does: cosine and sine, float32 [M, width] each."""
    half = ANGLE * torch.randn(len(packed.rows), width // 2, generator=generator)
    angle = torch.where(packed.skipped[:, None], half, 0).repeat(1, 2)
    return angle.cos(), angle.sin()


def boundaries(lengths: Tensor) -> Tensor:
    """Where segments begin and end, int32 [S + 1]."""
    return torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]).int()
