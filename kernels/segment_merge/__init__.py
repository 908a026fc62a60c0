"""segment_merge: the size-weighted mean of rows that share a segment."""

from framegate.kernels.segment_merge.reference import segment_merge

__all__ = ["segment_merge"]
