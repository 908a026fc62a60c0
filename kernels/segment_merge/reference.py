"""segment_merge in plain torch: the law that every faster version is compared with."""

from __future__ import annotations

import torch
from torch import Tensor


def merge_rows(features: Tensor, share: Tensor, segment: Tensor, num_segments: int) -> Tensor:
    """Add up the rows [N, D] of every segment, each times its share [N]: [M, D] in the features' dtype.

    Shares are float32 (float64 for float64 features), in which rows are added up; segment int64 [N], -1 leaves a row
    out.
    """
    chosen = segment >= 0
    if segment.device.type != "cpu" or torch.compiler.is_compiling():
        # rows that are left out are added up in a place of their own: selecting would make the host wait
        features = torch.where(chosen[:, None], features, 0)
    elif not bool(chosen.all()):
        features, share, segment = features[chosen], share[chosen], segment[chosen]
    rows = features.to(share.dtype) * share[:, None]
    merged = rows.new_zeros(num_segments + 1, features.shape[1]).index_add(0, segment + 1, rows)
    return merged[1:].to(features.dtype)


def shares_of(size: Tensor, segment: Tensor, num_segments: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Work out what each row gives to the mean of its segment: shares, at least float32 [N], and the segments' sizes,
    int64 [M].

    Rows whose segment is -1 are left out: their share is 0.
    """
    total = size.new_zeros(num_segments + 1).index_add(0, segment + 1, size)
    wide = torch.promote_types(dtype, torch.float32)
    # a share of exactly 1.0 leaves a lone row as it is, which (row * size) / size would not
    share = (size.double() / total[segment + 1].clamp(min=1)).to(wide)
    return torch.where(segment >= 0, share, 0), total[1:]
