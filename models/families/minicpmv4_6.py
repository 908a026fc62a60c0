"""MiniCPM-V 4.6: MiniCPM-V 4.7 before a language model that counts its tokens on one axis."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from framegate.models.families._minicpm import MiniCPMTower, minicpm_recipe, minicpm_tiny, tiny_minicpm
from framegate.models.families.minicpmv4_7 import FAMILY as MINICPM_V_4_7
from framegate.models.family import Values


def _tiny_config(tokenizer: Any, vision: Values, text: Values) -> Any:
    rope = {"mrope_section": [2, 3, 3], "mrope_interleaved": True, "partial_rotary_factor": 0.5}
    return tiny_minicpm("MiniCPMV4_6Config", tokenizer, vision=vision, text=text, rope=rope)


FAMILY = replace(
    MINICPM_V_4_7,
    model_type="minicpmv4_6",
    model_class="MiniCPMV4_6ForConditionalGeneration",
    bind=MiniCPMTower,
    recipe=minicpm_recipe("MiniCPMV4_6Processor"),
    tiny=minicpm_tiny(_tiny_config),
    positions="1-D RoPE",
    notes="As minicpmv4_7.",
)
