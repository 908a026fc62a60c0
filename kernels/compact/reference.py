"""compact in plain torch: the law that every faster version is compared with."""

from __future__ import annotations

import torch
from torch import Tensor


def kept_rows(rows: Tensor, keep: Tensor, num_kept: int) -> Tensor:
    """Select rows [N, D] by a mask [N] of which the count K is known: [K, D]."""
    return rows[torch.nonzero_static(keep, size=num_kept)[:, 0]]
