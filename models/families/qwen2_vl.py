"""Qwen2-VL."""

from __future__ import annotations

from typing import Any

from framegate.models.families._shared import qwen2_recipe, tiny_qwen
from framegate.models.family import Family, TinyRecipe, Values
from framegate.models.towers.packed import PackedTower


def _tiny_config(tokenizer: Any, vision: Values, text: Values) -> Any:
    tower = {"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 2, "patch_size": 14}
    return tiny_qwen("Qwen2VLConfig", tokenizer, vision=tower | {"in_channels": 3} | vision, text=text)


FAMILY = Family(
    model_type="qwen2_vl",
    model_class="Qwen2VLForConditionalGeneration",
    bind=PackedTower,
    recipe=qwen2_recipe("Qwen2VLProcessor"),
    tiny=TinyRecipe(config=_tiny_config),
    timestamps="stamps after every tube (framegate)",
    serves_live=True,
)
