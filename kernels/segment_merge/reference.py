"""segment_merge in plain torch: the law that every faster version is compared with."""

from __future__ import annotations

import torch
from torch import Tensor


def segment_merge(
    features: Tensor, size: Tensor, segment: Tensor, num_segments: int
) -> tuple[Tensor, Tensor]:
    """Average the rows of every segment, each weighted by its size.

    Args:
        features: [N, D], floating point.
        size: int64 [N], at least 1: what each row weighs.
        segment: int64 [N], segment of each row, in [0, num_segments) in any order; -1 leaves the row out.
        num_segments: M; every segment has at least one row.

    Returns:
        merged [M, D] in the features' dtype, accumulated in at least float32; and its sizes, int64 [M]. A row alone in
        its segment keeps its bits.

    Raises:
        ValueError: lengths that differ, a segment out of range or without a row, a size below 1.

    Source: ToMe (arXiv 2210.09461), proportional merging; segments of any shape: ours. Differentiable in features.
    """
    _check(features, size, segment, num_segments)
    chosen = segment >= 0
    rows, weight, target = features[chosen], size[chosen], segment[chosen]
    total = size.new_zeros(num_segments).index_add(0, target, weight)
    if bool((total == 0).any()):
        raise ValueError(f"Segment {int((total == 0).nonzero()[0])} of {num_segments} has no row.")
    wide = torch.promote_types(features.dtype, torch.float32)
    # a share of exactly 1.0 leaves a lone row as it is, which (row * size) / size would not
    share = (weight.double() / total[target]).to(wide)[:, None]
    merged = rows.new_zeros((num_segments, features.shape[1]), dtype=wide)
    merged = merged.index_add(0, target, rows.to(wide) * share)
    return merged.to(features.dtype), total


def _check(features: Tensor, size: Tensor, segment: Tensor, num_segments: int) -> None:
    if not (features.ndim == 2 and len(features) == len(size) == len(segment)):
        raise ValueError(
            f"features {tuple(features.shape)}, size {tuple(size.shape)} and segment {tuple(segment.shape)} must be "
            "[N, D], [N] and [N]."
        )
    if len(segment) and not -1 <= int(segment.min()) <= int(segment.max()) < num_segments:
        raise ValueError(f"segment must lie in [-1, {num_segments}), got {segment.min()} to {segment.max()}.")
    if len(size) and int(size.min()) < 1:
        raise ValueError(f"size must be at least 1, got {int(size.min())}.")
