"""Model and processor of framegate/nano before training: a stock Qwen3-VL of a few million parameters."""

from __future__ import annotations

import math
from typing import Any

import torch

from framegate.models.nano.vocabulary import LATER_TIMES, TIMES, nano_tokenizer
from framegate.models.tiny import chat_template, tiny_model_of

VISION = {
    "depth": 6,
    "hidden_size": 192,
    "intermediate_size": 512,
    "num_heads": 6,
    "initializer_range": 0.05,
    "out_hidden_size": 192,
    "num_position_embeddings": 144,
    "deepstack_visual_indexes": [1],
}
TEXT = {
    "hidden_size": 192,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 6,
    "num_key_value_heads": 6,
    "head_dim": 32,
    "initializer_range": 0.05,
    "tie_word_embeddings": True,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 1e4,
        "mrope_section": [6, 5, 5],
        "mrope_interleaved": True,
    },
}

# so that the first layer's tokens have a standard deviation of about 1
_WAVE_GAIN = 0.5


def nano_model(seed: int = 0) -> Any:
    """Build the untrained model.

    Args:
        seed: of its weights.

    Returns:
        A Qwen3VLForConditionalGeneration whose embeddings of times begin as waves of the time they name, so that
        near times are near, and whose tower first sees waves of brightness, of both frames and between them.
    """
    tokenizer = nano_tokenizer()
    model = tiny_model_of("qwen3_vl", tokenizer, seed=seed, vision=VISION, text=TEXT, tied=True)
    table = model.get_input_embeddings().weight
    times = (*TIMES, *LATER_TIMES)
    ids = tokenizer.convert_tokens_to_ids(list(times))
    tenths = torch.tensor([10 * float(time) for time in times])
    with torch.no_grad():
        table[ids] = _waves(tenths, table.shape[1]) * table.std() * math.sqrt(2)
        filters = model.model.visual.patch_embed.proj.weight
        filters.copy_(_brightness_waves(*filters.shape))
    return model


def nano_processor() -> Any:
    """Build the processor, which needs no torchvision.

    Returns:
        A Qwen3VLProcessor for frames of up to 448 x 256 pixels, a minute of them at 4 a second; longer videos are made
        smaller.
    """
    from framegate.models.video_processor import build_processor

    size = {"shortest_edge": 64 * 64, "longest_edge": 448 * 256 * 240}
    return build_processor("qwen3_vl", nano_tokenizer(), chat_template("qwen3_vl"), size)


def _waves(tenths: torch.Tensor, width: int) -> torch.Tensor:
    """Sines and cosines of tenths of a second [N], periods from half a second to two minutes: [N, width]."""
    periods = torch.logspace(math.log10(5), math.log10(1280), width // 2)
    phase = tenths[:, None] * (2 * math.pi / periods)
    return torch.cat([phase.sin(), phase.cos()], dim=1)


def _brightness_waves(count: int, channels: int, frames: int, height: int, width: int) -> torch.Tensor:
    """Cosines over a patch, the coarsest first, for the sum of its two frames and for their difference in turn.

    Fine waves are fainter in pictures, and are raised by as much: [count, channels, frames, height, width].
    """
    y, x = (torch.arange(size) + 0.5 for size in (height, width))
    places = sorted(((u, v) for u in range(height) for v in range(width)), key=lambda pair: (sum(pair), pair))
    filters = []
    for u, v in places[: (count + 1) // 2]:
        wave = torch.outer(torch.cos(math.pi * u * y / height), torch.cos(math.pi * v * x / width))
        wave = wave / wave.norm() * _WAVE_GAIN * (1 + u + v)
        for sign in (1, -1):
            per_frame = torch.tensor([1.0, sign]) / (channels * frames)
            filters.append((per_frame[:, None, None] * wave).expand(channels, -1, -1, -1))
    return torch.stack(filters[:count])
