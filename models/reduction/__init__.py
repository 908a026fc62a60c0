"""Exact reduction: what the other stages leave over a budget is merged, the most similar neighbours first."""

from framegate.models.reduction.reduce import reduce_to

__all__ = ["reduce_to"]
