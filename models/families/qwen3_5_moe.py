"""Qwen3.5-MoE: Qwen3.5 with a language model of experts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from framegate.models.families._shared import tiny_experts
from framegate.models.families.qwen3_5 import FAMILY as QWEN3_5
from framegate.models.families.qwen3_5 import tiny_qwen3_5
from framegate.models.family import Values


def _tiny_config(tokenizer: Any, vision: Values, text: Values) -> Any:
    experts = tiny_experts() | {"shared_expert_intermediate_size": 32}
    return tiny_qwen3_5("Qwen3_5MoeConfig", tokenizer, vision=vision, text=experts | text)


FAMILY = replace(
    QWEN3_5,
    model_type="qwen3_5_moe",
    model_class="Qwen3_5MoeForConditionalGeneration",
    tiny=replace(QWEN3_5.tiny, config=_tiny_config),
    notes="As qwen3_5.",
)
