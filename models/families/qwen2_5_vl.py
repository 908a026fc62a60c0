"""Qwen2.5-VL: Qwen2-VL with window attention in its tower, and a position axis that counts time."""

from __future__ import annotations

from typing import Any

from framegate.models.families._shared import qwen2_recipe, tiny_qwen, tiny_windows
from framegate.models.family import Family, TinyRecipe, Values
from framegate.models.towers.packed import PackedTower


def _tiny_config(tokenizer: Any, vision: Values, text: Values) -> Any:
    tower = tiny_windows() | {"tokens_per_second": 2}
    return tiny_qwen("Qwen2_5_VLConfig", tokenizer, vision=tower | vision, text=text)


FAMILY = Family(
    model_type="qwen2_5_vl",
    model_class="Qwen2_5_VLForConditionalGeneration",
    bind=PackedTower,
    recipe=qwen2_recipe("Qwen2_5_VLProcessor"),
    tiny=TinyRecipe(config=_tiny_config),
    timestamps="stamps after every tube (framegate); else M-RoPE time axis (second_per_grid_ts)",
    reads_times=True,
    # tokens_per_second of every released checkpoint
    time_ids_per_second=2,
    serves_live=True,
    notes="Window attention: windows are recounted for the kept cells.",
)
