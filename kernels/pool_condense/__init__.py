"""pool_condense: rows that stand on a grid, pooled by areas whose side may differ from group to group."""

from framegate.kernels.pool_condense.reference import area_segments, pool_condense

__all__ = ["area_segments", "pool_condense"]
