"""Cohere's Compass (North Vision): Qwen3-VL's tower and processor before a language model with sliding windows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from framegate.models.families._shared import tiny_deepstack, tiny_qwen
from framegate.models.families.qwen3_vl import FAMILY as QWEN3_VL
from framegate.models.family import TinyRecipe, Values

_IMAGE, _VIDEO, _START, _END = (
    f"<|{name}|>" for name in ("IMAGE_PAD", "VIDEO_PAD", "VISION_START", "VISION_END")
)


def _tiny_config(tokenizer: Any, vision: Values, text: Values) -> Any:
    windows = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [2, 3, 3]}
    layers = {
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
        # as in its released checkpoint, layers that see everything have no positions
        "rope_parameters": {"sliding_attention": windows, "full_attention": None},
    }
    names = {"image": _IMAGE, "video": _VIDEO, "vision_start": _START, "vision_end": _END}
    ids = {f"{name}_token_id": tokenizer.convert_tokens_to_ids(token) for name, token in names.items()}
    vision, text = tiny_deepstack() | vision, layers | text
    return tiny_qwen("CohereCompassConfig", tokenizer, vision=vision, text=text, more=ids)


FAMILY = replace(
    QWEN3_VL,
    model_type="cohere_compass",
    model_class="CohereCompassForConditionalGeneration",
    recipe=replace(
        QWEN3_VL.recipe,
        processor="CohereCompassProcessor",
        image_processor=(
            "cohere_compass.image_processing_pil_cohere_compass",
            "CohereCompassImageProcessorPil",
        ),
        video_values={**QWEN3_VL.recipe.video_values, "video_processor_type": "CohereCompassVideoProcessor"},
    ),
    tiny=TinyRecipe(
        config=_tiny_config,
        tokens=(_IMAGE, _VIDEO, _START, _END),
        video_mark=_VIDEO,
        image_mark=_START + _IMAGE + _END,
    ),
    notes="As qwen3_vl; sliding windows of the language model hold kept tokens alone, and so reach further back.",
)
