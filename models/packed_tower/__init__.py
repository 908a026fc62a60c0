"""Towers that take packed sequences with boundaries: Qwen2-VL, Qwen2.5-VL, Qwen3-VL."""

from framegate.models.cell_plan import CellPlan, cell_plan
from framegate.models.packed_tower.anchored import ATTENTION_NAME, framegate_attention
from framegate.models.packed_tower.encode import encode_kept, kept_patches
from framegate.models.packed_tower.tower import PackedTower as Tower

__all__ = [
    "ATTENTION_NAME",
    "CellPlan",
    "Tower",
    "cell_plan",
    "encode_kept",
    "framegate_attention",
    "kept_patches",
]
