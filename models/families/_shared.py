"""What families share: settings of stock processors, rules by which they choose and size frames, tiny models."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from framegate.errors import FrameError
from framegate.models.family import ProcessorRecipe, Values, VideoSettings
from framegate.types import Int64Array

_MAX_ASPECT = 200
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
# What stock processors do not bound, of those that read no such settings.
UNCAPPED: Values = {"cap_pixels_per_frame": False, "max_video_tokens": 0}
UNBOUNDED: Values = UNCAPPED | {"min_frames": 1, "max_frames": 1 << 31}
# What the models of towers that see square frames, a frame a tube, say of a processor that leaves it to them.
SQUARE_FRAMES: Values = UNBOUNDED | {"patch_size": 14, "temporal_patch_size": 1, "merge_size": 1}
# bounds of the size rule under which packed towers see small frames, for tiny models
TINY_SIZE = {"shortest_edge": 28 * 28 * 4, "longest_edge": 28 * 28 * 24 * 8}

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


def cropped_video(kind: str, side_px: int) -> Values:
    """Settings of a stock video processor of CLIP's kind, by its class: the middle square of scaled frames."""
    return STOCK_VALUES | {
        "video_processor_type": kind,
        "size": {"shortest_edge": side_px},
        "do_center_crop": True,
        "crop_size": {"height": side_px, "width": side_px},
        "image_mean": list(CLIP_MEAN),
        "image_std": list(CLIP_STD),
        "do_sample_frames": False,
        "fps": None,
    }


def square_picture(values: Mapping[str, Any]) -> Values:
    """Arguments of an image processor that brings pictures to the video processor's square."""
    return {name: values[name] for name in ("size", "image_mean", "image_std")}


def cropped_picture(values: Mapping[str, Any]) -> Values:
    """Arguments of an image processor that scales and crops pictures as the video processor does frames."""
    return {name: values[name] for name in ("size", "crop_size", "image_mean", "image_std")}


def tiny_text(tokenizer: Any, changes: Values, *, rope: Values | None = None) -> Values:
    """Settings of a language model of three layers, as every tiny model has one; `rope` beside type and theta."""
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


def tiny_tower(*, depth: int = 4) -> Values:
    """Settings of a tiny packed tower."""
    return {
        "depth": depth,
        "hidden_size": 32,
        "out_hidden_size": 64,
        "num_heads": 2,
        "intermediate_size": 64,
    }


def tiny_clip(image_px: int, patch_px: int) -> Values:
    """Settings of a tiny CLIP vision tower."""
    return {
        "model_type": "clip_vision_model",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": image_px,
        "patch_size": patch_px,
        "projection_dim": 32,
    }


def tiny_windows() -> Values:
    """Settings of a tiny packed tower with window attention, in all but two layers."""
    return tiny_tower() | {"patch_size": 14, "window_size": 56, "fullatt_block_indexes": [1, 3]}


def tiny_deepstack() -> Values:
    """Settings of a tiny packed tower with learned positions that gives the features of several layers."""
    own = {"patch_size": 16, "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1, 2]}
    return tiny_tower() | own


def tiny_experts() -> Values:
    """Settings of a tiny language model in which each token goes to two of four experts."""
    return {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}


def tiny_qwen(
    config: str,
    tokenizer: Any,
    *,
    vision: Values,
    text: Values,
    rope: Values | None = None,
    more: Values | None = None,
) -> Any:
    """The configuration of a tiny Qwen-VL: its own settings beside those that all of them share."""
    import transformers

    return getattr(transformers, config)(
        text_config=tiny_text(tokenizer, text, rope={"mrope_section": [2, 3, 3]} | (rope or {})),
        vision_config={"spatial_merge_size": 2, "temporal_patch_size": 2} | vision,
        **(qwen_token_ids(tokenizer) | (more or {})),
    )


def qwen_token_ids(tokenizer: Any) -> dict[str, int]:
    """The ids of vision tokens that a configuration of Qwen-VL holds."""
    names = {
        "image_token_id": "<|image_pad|>",
        "video_token_id": "<|video_pad|>",
        "vision_start_token_id": "<|vision_start|>",
        "vision_end_token_id": "<|vision_end|>",
    }
    return {key: tokenizer.convert_tokens_to_ids(token) for key, token in names.items()}


def even_sample_rule(num_frames: int, video_fps: float | None, settings: VideoSettings) -> Int64Array:
    """Choose frames as the default of transformers' video processors does: at a rate, or so many, evenly."""
    wanted = settings.num_frames
    if wanted is None and settings.fps is not None and video_fps is not None:
        wanted = max(1, int(num_frames / video_fps * settings.fps))
    if wanted is None or wanted > num_frames:
        raise FrameError(
            f"This family's processor samples by fps (here {settings.fps}) of frames whose own rate is known (here "
            f"{video_fps}), or num_frames (here {settings.num_frames}) of {num_frames}. Pass the rate as fps of "
            "video_metadata, another num_frames, or do_sample_frames=False."
        )
    return np.arange(wanted, dtype=np.int64) * num_frames // wanted


def square_rule(num_frames: int, height: int, width: int, settings: VideoSettings) -> tuple[int, int]:
    """Every frame to one square, whatever its shape; FrameError where it may not be resized and is none."""
    side = math.isqrt(settings.max_pixels)
    if not settings.do_resize and (height, width) != (side, side):
        raise FrameError(
            f"Frames of {height} x {width} px with do_resize=False; this tower takes {side} x {side}."
        )
    return side, side


def frame_rule(num_frames: int, height: int, width: int, settings: VideoSettings) -> tuple[int, int]:
    """Pixels are counted per frame: smart_resize of transformers' Qwen2VLVideoProcessor."""
    factor, most, least = settings.layout.cell_px, settings.max_pixels, settings.min_pixels
    if settings.cap_pixels_per_frame:
        total = int(settings.max_video_tokens * factor * factor * 0.9)
        share = total * settings.layout.temporal_patch_size // num_frames
        most = max(min(most, share), int(least * 1.05))
    _check_aspect(height, width)
    rows, columns = round(height / factor) * factor, round(width / factor) * factor
    if rows * columns > most:
        return _shrunk(height, width, math.sqrt(height * width / most), factor)
    if rows * columns < least:
        return _grown(height, width, math.sqrt(least / (height * width)), factor)
    return rows, columns


def video_rule(num_frames: int, height: int, width: int, settings: VideoSettings) -> tuple[int, int]:
    """Pixels are counted over all frames: smart_resize of transformers' Qwen3VLVideoProcessor."""
    factor, tube = settings.layout.cell_px, settings.layout.temporal_patch_size
    num_frames = max(num_frames, tube)  # a single frame is repeated to fill its tube
    most, least = settings.max_pixels, settings.min_pixels
    if settings.cap_pixels_per_frame:
        cap = settings.max_video_tokens * factor * factor
        most = max(min(cap, most // num_frames), int(least * 1.05)) * num_frames
    if height < factor or width < factor:
        scale = max(factor / height, factor / width)
        height, width = int(height * scale), int(width * scale)
    _check_aspect(height, width)
    rows, columns = round(height / factor) * factor, round(width / factor) * factor
    frames = round(num_frames / tube) * tube
    if frames * rows * columns > most:
        return _shrunk(height, width, math.sqrt(num_frames * height * width / most), factor)
    if frames * rows * columns < least:
        return _grown(height, width, math.sqrt(least / (num_frames * height * width)), factor)
    return rows, columns


def shared_rule(num_frames: int, height: int, width: int, settings: VideoSettings) -> tuple[int, int]:
    """The most pixels are shared by the frames: smart_resize of transformers' VideoLlama3VideoProcessor."""
    shared = replace(settings, max_pixels=settings.max_pixels // num_frames, cap_pixels_per_frame=False)
    return frame_rule(num_frames, height, width, shared)


def _shrunk(height: int, width: int, beta: float, factor: int) -> tuple[int, int]:
    rows, columns = (math.floor(side / beta / factor) * factor for side in (height, width))
    return max(factor, rows), max(factor, columns)


def _grown(height: int, width: int, beta: float, factor: int) -> tuple[int, int]:
    return math.ceil(height * beta / factor) * factor, math.ceil(width * beta / factor) * factor


def _check_aspect(height: int, width: int) -> None:
    if not height or not width:
        raise FrameError(f"Frames of {height} x {width} px hold no pixel.")
    if max(height, width) / min(height, width) > _MAX_ASPECT:
        raise FrameError(
            f"Frames of {height} x {width} px: one side may be at most {_MAX_ASPECT} times the other."
        )
