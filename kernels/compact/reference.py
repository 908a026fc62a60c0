"""compact in plain torch: the law that every faster version is compared with."""

from __future__ import annotations

import torch
from torch import Tensor


def kept_rows(rows: Tensor, keep: Tensor, num_kept: int) -> Tensor:
    """Select rows [N, D] by a mask [N] of which the count K is known: [K, D]."""
    # kept rows come first, in their order; looking for them would make the host wait for a GPU
    return rows[torch.argsort((~keep).to(torch.uint8), stable=True)[:num_kept]]
