"""Qwen3.5: Qwen3-VL without DeepStack, most layers of its language model linear attention."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from framegate.models.families._shared import tiny_qwen, tiny_tower
from framegate.models.families.qwen3_vl import FAMILY as QWEN3_VL
from framegate.models.family import Values


def tiny_qwen3_5(config: str, tokenizer: Any, *, vision: Values, text: Values) -> Any:
    """The configuration of a tiny Qwen3.5, by the name of its class: settings that replace the tiny ones."""
    vision = tiny_tower(depth=2) | {"patch_size": 16, "num_position_embeddings": 64} | vision
    heads = {"linear_num_key_heads": 2, "linear_num_value_heads": 4}
    sizes = {"head_dim": 32, "linear_key_head_dim": 16, "linear_value_head_dim": 16}
    text = heads | sizes | {"layer_types": ["linear_attention", "linear_attention", "full_attention"]} | text
    rope = {"mrope_interleaved": True, "partial_rotary_factor": 0.5}
    return tiny_qwen(config, tokenizer, vision=vision, text=text, rope=rope)


def _tiny_config(tokenizer: Any, vision: Values, text: Values) -> Any:
    return tiny_qwen3_5("Qwen3_5Config", tokenizer, vision=vision, text=text)


FAMILY = replace(
    QWEN3_VL,
    model_type="qwen3_5",
    model_class="Qwen3_5ForConditionalGeneration",
    tiny=replace(QWEN3_VL.tiny, config=_tiny_config),
    merger_modules=("merger",),
    notes="Linear attention reads the kept tokens as one sequence: the others are dropped, which a mask would not do.",
)
