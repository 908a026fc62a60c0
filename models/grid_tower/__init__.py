"""Towers that encode frames as grids of patches and pool them: SigLIP in LLaVA-OneVision."""

from framegate.models.grid_tower.encode import encode_kept, grid_side
from framegate.models.grid_tower.features import MediaFeatures
from framegate.models.grid_tower.geometry import (
    SHAPE_KEY,
    anchor_tubes,
    judged_size,
    patches_of_cells,
    pooled_side,
    supports,
)
from framegate.models.grid_tower.tower import GridTower as Tower

__all__ = [
    "SHAPE_KEY",
    "MediaFeatures",
    "Tower",
    "anchor_tubes",
    "encode_kept",
    "grid_side",
    "judged_size",
    "patches_of_cells",
    "pooled_side",
    "supports",
]
