"""Qwen2-VL."""

from __future__ import annotations

from typing import Any

from framegate.models.families._qwen import qwen2_recipe, qwen_token_ids, tiny_text
from framegate.models.family import Family, TinyRecipe, Values
from framegate.models.towers.packed import PackedTower


def _tiny_config(tokenizer: Any, vision: Values, text: Values) -> Any:
    from transformers import Qwen2VLConfig

    tower = {"depth": 2, "embed_dim": 32, "hidden_size": 64, "num_heads": 2, "mlp_ratio": 2, "patch_size": 14}
    shared = {"spatial_merge_size": 2, "temporal_patch_size": 2, "in_channels": 3}
    return Qwen2VLConfig(
        text_config=tiny_text(tokenizer, text, rope={"mrope_section": [2, 3, 3]}),
        vision_config=tower | shared | vision,
        **qwen_token_ids(tokenizer),
    )


FAMILY = Family(
    model_type="qwen2_vl",
    model_class="Qwen2VLForConditionalGeneration",
    bind=PackedTower,
    recipe=qwen2_recipe("Qwen2VLProcessor"),
    tiny=TinyRecipe(config=_tiny_config),
    timestamps="stamps after every tube (framegate)",
)
