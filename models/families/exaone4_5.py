"""EXAONE 4.5: the tower of Qwen2.5-VL with shared keys, before a language model of one position axis."""

from __future__ import annotations

from typing import Any

from framegate.models.families._shared import qwen2_recipe, qwen_token_ids, tiny_text, tiny_windows
from framegate.models.family import Family, TinyRecipe, Values
from framegate.models.towers.one_axis import OneAxisTower


def _tiny_config(tokenizer: Any, vision: Values, text: Values) -> Any:
    from transformers import Exaone4_5_Config

    layers = {"layer_types": ["sliding_attention", "sliding_attention", "full_attention"]}
    text = {"model_type": "exaone4", "sliding_window": 4096} | layers | text
    ids = qwen_token_ids(tokenizer)
    return Exaone4_5_Config(
        text_config=tiny_text(tokenizer, text),
        vision_config=tiny_windows() | {"num_key_value_heads": 1} | vision,
        image_token_id=ids["image_token_id"],
        video_token_id=ids["video_token_id"],
    )


FAMILY = Family(
    model_type="exaone4_5",
    model_class="Exaone4_5_ForConditionalGeneration",
    bind=OneAxisTower,
    recipe=qwen2_recipe("Exaone4_5_Processor"),
    tiny=TinyRecipe(config=_tiny_config),
    positions="1-D RoPE",
    timestamps="stamps after every tube (framegate)",
    serves_live=True,
    notes="Window attention: windows are recounted for the kept cells; sliding windows of the language model hold kept "
    "tokens alone, and so reach further back.",
)
