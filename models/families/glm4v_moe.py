"""GLM-4.5V, and the large GLM-4.6V: GLM-4V with a language model of experts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from framegate.models.families.glm4v import FAMILY as GLM4V
from framegate.models.families.glm4v import tiny_glm
from framegate.models.family import Values


def _tiny_config(tokenizer: Any, vision: Values, text: Values) -> Any:
    experts = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
    return tiny_glm("Glm4vMoeConfig", tokenizer, vision=vision, text=experts | text)


FAMILY = replace(
    GLM4V,
    model_type="glm4v_moe",
    model_class="Glm4vMoeForConditionalGeneration",
    tiny=replace(GLM4V.tiny, config=_tiny_config),
    notes="As glm4v.",
)
