"""One question about each frame alone, as a picture or as a video of one frame."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import torch

from framegate.types import UInt8Array

Medium = Literal["image", "video"]


def generated_by_frame(
    model: Any,
    processor: Any,
    frames: UInt8Array,
    question: str,
    *,
    medium: Medium,
    batch_frames: int,
    max_new_tokens: int,
) -> Iterator[tuple[Any, Any]]:
    """Ask about frames one by one, uint8 [F, h, w, 3], greedily, in batches; a batch's inputs and what `generate` gave.

    Frames are of one size and the question is the same, so that rows are of one length.
    """
    chat = [{"role": "user", "content": [{"type": medium}, {"type": "text", "text": question}]}]
    text = processor.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    # some processors leave out what their models ask for unless they are told
    types = "mm_token_type_ids" in inspect.signature(type(model).forward).parameters
    asked = {"return_mm_token_type_ids": True} if types else {}
    for start in range(0, len(frames), batch_frames):
        batch = frames[start : start + batch_frames]
        inputs = processor(
            text=[text] * len(batch), return_tensors="pt", padding=True, **asked, **_shown(batch, medium)
        ).to(device=model.device, dtype=model.dtype)
        with torch.inference_mode():
            yield (
                inputs,
                model.generate(
                    **inputs,
                    max_new_tokens=max_new_tokens,
                    do_sample=False,
                    output_logits=True,
                    return_dict_in_generate=True,
                ),
            )


def _shown(frames: UInt8Array, medium: Medium) -> dict[str, Any]:
    """Arguments of a processor that show each frame alone."""
    if medium == "image":
        return {"images": [[frame] for frame in frames]}
    videos = [torch.from_numpy(np.ascontiguousarray(frame))[None].permute(0, 3, 1, 2) for frame in frames]
    one = {"fps": 1.0, "total_num_frames": 1, "duration": 1.0, "frames_indices": [0]}
    return {"videos": videos, "video_metadata": [dict(one) for _ in videos], "do_sample_frames": False}
