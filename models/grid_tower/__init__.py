"""Towers that encode frames as grids of patches and pool them: SigLIP in LLaVA-OneVision."""

from framegate.models.grid_tower.encode import encode_kept, grid_side
from framegate.models.grid_tower.features import VideoFeatures
from framegate.models.grid_tower.geometry import (
    anchor_tubes,
    judged_size,
    patches_of_cells,
    pooled_side,
    supports,
)

__all__ = [
    "VideoFeatures",
    "anchor_tubes",
    "encode_kept",
    "grid_side",
    "judged_size",
    "patches_of_cells",
    "pooled_side",
    "supports",
]
