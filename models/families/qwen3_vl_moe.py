"""Qwen3-VL-MoE: Qwen3-VL with a language model of experts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from framegate.models.families._shared import tiny_experts
from framegate.models.families.qwen3_vl import FAMILY as QWEN3_VL
from framegate.models.families.qwen3_vl import tiny_qwen3
from framegate.models.family import Values


def _tiny_config(tokenizer: Any, vision: Values, text: Values) -> Any:
    return tiny_qwen3("Qwen3VLMoeConfig", tokenizer, vision=vision, text=tiny_experts() | text)


FAMILY = replace(
    QWEN3_VL,
    model_type="qwen3_vl_moe",
    model_class="Qwen3VLMoeForConditionalGeneration",
    tiny=replace(QWEN3_VL.tiny, config=_tiny_config),
    notes="As qwen3_vl.",
)
