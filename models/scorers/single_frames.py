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
    frames_per_tube = getattr(getattr(processor, "video_processor", None), "temporal_patch_size", None) or 1
    for start in range(0, len(frames), batch_frames):
        batch = frames[start : start + batch_frames]
        inputs = processor(
            text=[text] * len(batch),
            return_tensors="pt",
            padding=True,
            **asked,
            **_shown(batch, medium, frames_per_tube),
        ).to(device=model.device, dtype=model.dtype)
        with torch.inference_mode():
            output = model.generate(
                **inputs,
                max_new_tokens=max_new_tokens,
                do_sample=False,
                output_logits=True,
                return_dict_in_generate=True,
            )
        # outside: what a generator holds open, its reader would stand in
        yield inputs, output


def _shown(frames: UInt8Array, medium: Medium, frames_per_tube: int) -> dict[str, Any]:
    """Arguments of a processor that show each frame alone; as a video it fills a tube: some refuse less."""
    if medium == "image":
        return {"images": [[frame] for frame in frames]}
    videos = [
        torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1).repeat(frames_per_tube, 1, 1, 1)
        for frame in frames
    ]
    indices = [0] * frames_per_tube
    one = {"fps": 1.0, "total_num_frames": 1, "duration": 1.0, "frames_indices": indices}
    return {"videos": videos, "video_metadata": [dict(one) for _ in videos], "do_sample_frames": False}
