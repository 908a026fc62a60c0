"""Down-scaling: every frame at a smaller size, so that the same tubes cost fewer tokens."""

from framegate.tokenizers.down_scaling.grid import scaled_px, smaller_grid

__all__ = ["scaled_px", "smaller_grid"]
