"""The prompt of a question to a session: made anew for each from the tubes that are held, with the clock it tells."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import BatchFeature

from framegate.errors import ConfigError
from framegate.models.live.memory import StoredTube, joined
from framegate.models.live.stored import STORED_KEY
from framegate.models.transformers_private import PLACEHOLDER_METHOD
from framegate.models.video_processor.hooks import stamped_text
from framegate.models.video_processor.metadata import TimedMetadata

_MILLISECONDS = 1000.0
# "{now}" and "{now-90}", in seconds
_MOMENT = re.compile(r"\{now(?:\s*-\s*(\d+(?:\.\d+)?))?\}")


def stored_inputs(
    processor: Any,
    tubes: Sequence[StoredTube],
    question: str,
    *,
    now: float,
    merge_size: int,
    tube_frames: int,
) -> BatchFeature:
    """Make a model's inputs of a question about tubes that are held.

    Times are told from the first of them on, and positions follow from the prompt: neither grows with the stream.

    Args:
        processor: attached beside the model.
        tubes: at least one, in order of time.
        question: what is asked; "{now}" and "{now-90}" in it become this moment, and the one 90 seconds before it, as
            the prompt tells times.
        now: the newest moment, in seconds of the stream's clock.
        merge_size: patches along the side of a cell.
        tube_frames: frames of a tube.

    Returns:
        `input_ids`, `attention_mask`, `video_grid_thw` and the tokens, for `generate` of the attached model.

    Raises:
        ConfigError: the question asks about a time before the first tube.
    """
    stored, first = joined(tubes), tubes[0].seconds
    metadata = _metadata(tubes, first, tube_frames)
    count, rows, columns = stored.tokens.shapes[0]
    grid = torch.tensor([[count, rows * merge_size, columns * merge_size]])
    video_inputs = {"video_grid_thw": grid, "video_metadata": [metadata]}
    text = getattr(processor, PLACEHOLDER_METHOD)(video_inputs, video_idx=0)
    interleaver = processor.video_processor.interleaver
    if interleaver is not None:
        text = stamped_text(
            text, processor.video_token, metadata, interleaver, temporal_patch_size=tube_frames
        )
    asked = _with_moments(question, now - first)
    content = [{"type": "video"}, {"type": "text", "text": asked}]
    prompt = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    # the template writes the video before the question, whose own words may name the placeholder
    prompt = prompt.replace(processor.video_token, text, 1)
    ids = processor.tokenizer([prompt], return_tensors="pt")
    return BatchFeature(
        {
            "input_ids": ids["input_ids"],
            "attention_mask": ids["attention_mask"],
            "video_grid_thw": grid,
            STORED_KEY: stored,
        }
    )


def _metadata(tubes: Sequence[StoredTube], first: float, tube_frames: int) -> TimedMetadata:
    """The times of all frames from the first on, a tube that is not full repeating its last one, by milliseconds."""
    times = np.concatenate(
        [np.pad(tube.times_seconds, (0, tube_frames - len(tube.times_seconds)), "edge") for tube in tubes]
    )
    seconds = times - first
    return TimedMetadata(
        times_seconds=seconds.tolist(),
        total_num_frames=len(seconds),
        fps=_MILLISECONDS,
        duration=float(seconds[-1]),
        video_backend="framegate",
        frames_indices=np.rint(seconds * _MILLISECONDS).astype(int).tolist(),
    )


def _with_moments(question: str, now: float) -> str:
    def told(found: re.Match[str]) -> str:
        ago = float(found[1] or 0.0)
        if ago > now:
            raise ConfigError(
                f"{found[0]} is before the first moment that is read, {now:.1f} seconds ago; ask about a later one, or "
                "raise horizon_seconds and max_video_tokens."
            )
        return f"{now - ago:.1f}"

    return _MOMENT.sub(told, question)
