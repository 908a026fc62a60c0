"""Cosmos 3 Omni's reasoner: Qwen3-VL under a model type of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from framegate.models.families.qwen3_vl import FAMILY as QWEN3_VL
from framegate.models.families.qwen3_vl import tiny_qwen3
from framegate.models.family import Values


def _tiny_config(tokenizer: Any, vision: Values, text: Values) -> Any:
    types = {"model_type": "qwen3_vl_vision"}, {"model_type": "qwen3_vl_text"}
    return tiny_qwen3("Cosmos3OmniConfig", tokenizer, vision=types[0] | vision, text=types[1] | text)


FAMILY = replace(
    QWEN3_VL,
    model_type="cosmos3_omni",
    model_class="Cosmos3OmniForConditionalGeneration",
    tiny=replace(QWEN3_VL.tiny, config=_tiny_config),
    notes="As qwen3_vl; what its checkpoints generate with besides is no part of the class.",
)
