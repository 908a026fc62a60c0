"""What the Qwen-VL families share: settings of their video processors, and the configuration of their tiny models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from framegate.models.families._sizes import frame_rule, video_rule
from framegate.models.family import ProcessorRecipe, Values

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5)

# What transformers' video processors do where nothing else is said.
STOCK_VALUES: Values = {
    "do_convert_rgb": True,
    "do_resize": True,
    "do_rescale": True,
    "do_normalize": True,
    "rescale_factor": 1 / 255,
    "resample": 3,
    "num_frames": None,
    "return_metadata": False,
}
_SHARED: Values = STOCK_VALUES | {
    "temporal_patch_size": 2,
    "merge_size": 2,
    "min_frames": 4,
    "max_frames": 768,
    "cap_pixels_per_frame": None,
}
_QWEN2: Values = _SHARED | {
    "video_processor_type": "Qwen2VLVideoProcessor",
    "patch_size": 14,
    "size": {"shortest_edge": 128 * 28 * 28, "longest_edge": 768 * 28 * 28},
    "image_mean": list(CLIP_MEAN),
    "image_std": list(CLIP_STD),
    "do_sample_frames": False,
    "fps": None,
    "max_video_tokens": 128000,
}
_QWEN3: Values = _SHARED | {
    "video_processor_type": "Qwen3VLVideoProcessor",
    "patch_size": 16,
    "size": {"shortest_edge": 128 * 32 * 32, "longest_edge": 768 * 32 * 32},
    "image_mean": list(HALF),
    "image_std": list(HALF),
    "do_sample_frames": True,
    "fps": 2,
    "max_video_tokens": 768,
}
_IMAGES = ("qwen2_vl.image_processing_pil_qwen2_vl", "Qwen2VLImageProcessorPil")


def built_for_patches(values: Mapping[str, Any]) -> tuple[Values, Values]:
    """Arguments of an image processor that cuts patches as the video processor does, and none of the processor."""
    return {"patch_size": values["patch_size"]}, {}


def qwen2_recipe(processor: str) -> ProcessorRecipe:
    """The processor of a family that came with Qwen2-VL's video processor, by the name of its class."""
    return ProcessorRecipe(
        processor=processor,
        image_processor=_IMAGES,
        built=built_for_patches,
        video_values=_QWEN2,
        size_rule=frame_rule,
    )


def qwen3_recipe(processor: str) -> ProcessorRecipe:
    """The processor of a family that came with Qwen3-VL's video processor, by the name of its class."""
    return ProcessorRecipe(
        processor=processor,
        image_processor=_IMAGES,
        built=built_for_patches,
        video_values=_QWEN3,
        size_rule=video_rule,
        counts_time=True,
    )


def tiny_text(tokenizer: Any, changes: Values, *, rope: Values | None = None) -> Values:
    """Settings of a language model of three layers, as every tiny model has one.

    Args:
        tokenizer: whose vocabulary it speaks.
        changes: settings to replace.
        rope: parameters of its rotary positions beside type and theta.

    Returns:
        Keyword arguments of a text configuration.
    """
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 32768,
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "bos_token_id": None,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6} | (rope or {}),
    } | changes


def qwen_token_ids(tokenizer: Any) -> dict[str, int]:
    """The ids of vision tokens that a configuration of Qwen-VL holds."""
    names = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    return {key: tokenizer.convert_tokens_to_ids(token) for key, token in names.items()}
