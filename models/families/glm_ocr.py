"""GLM-OCR: GLM-4.6V's processor before a smaller tower, without learned positions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from framegate.models.families.glm4v import tiny_glm
from framegate.models.families.glm46v import FAMILY as GLM46V
from framegate.models.family import Values


def _tiny_config(tokenizer: Any, vision: Values, text: Values) -> Any:
    return tiny_glm("GlmOcrConfig", tokenizer, vision=vision, text=text)


FAMILY = replace(
    GLM46V,
    model_type="glm_ocr",
    model_class="GlmOcrForConditionalGeneration",
    tiny=replace(GLM46V.tiny, config=_tiny_config),
    learned_positions=False,
    contexts=("kept",),
    notes="As glm4v; its tower hands its attention nothing beside, so that skipped cells give kept ones no key.",
)
