"""LLaVA-OneVision of a few hundred thousand parameters: frames of 7 x 7 patches and 6 px that no patch covers."""

from __future__ import annotations

from typing import Any

# 7 patches of 14 px and 6 px more: an odd side and a margin, as released checkpoints have (27 patches in 384 px).
IMAGE_PX = 104
IMAGE_TOKEN, VIDEO_TOKEN = "<image>", "<video>"


def llava_onevision_config(tokenizer: Any, vision: dict[str, Any], text: dict[str, Any]) -> Any:
    """Make the configuration.

    Args:
        tokenizer: with the tokens "<image>" and "<video>".
        vision: settings of the vision configuration to replace.
        text: settings of the text configuration to replace.

    Returns:
        A LlavaOnevisionConfig.

    Source: ours.
    """
    from transformers import LlavaOnevisionConfig

    image_px = vision.get("image_size", IMAGE_PX)
    return LlavaOnevisionConfig(
        text_config=_text(tokenizer) | text,
        vision_config=_vision(image_px) | vision,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        video_token_index=tokenizer.convert_tokens_to_ids(VIDEO_TOKEN),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        image_grid_pinpoints=grid_pinpoints(image_px),
    )


def grid_pinpoints(image_px: int) -> list[list[int]]:
    """Sizes that pictures are fitted to: up to two tiles along a side."""
    return [[image_px * rows, image_px * columns] for rows in (1, 2) for columns in (1, 2)]


def _text(tokenizer: Any) -> dict[str, Any]:
    return {
        "model_type": "qwen2",
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
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    }


def _vision(image_px: int) -> dict[str, Any]:
    return {
        "model_type": "siglip_vision_model",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": image_px,
        "patch_size": 14,
        "vision_use_head": False,
    }
