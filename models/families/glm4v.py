"""GLM-4V (4.1V, 4.6V-Flash): a packed tower that takes tubes as pictures, and pictures' placeholders for videos."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from framegate.errors import AttachmentError, FrameError
from framegate.models.cell_plan import CellPlan
from framegate.models.families._shared import (
    CLIP_MEAN,
    CLIP_STD,
    STOCK_VALUES,
    TINY_SIZE,
    UNBOUNDED,
    built_for_patches,
    tiny_text,
    video_rule,
)
from framegate.models.family import Family, ProcessorRecipe, TinyRecipe, Values, VideoSettings
from framegate.models.mechanism import Encoded
from framegate.models.towers.packed import PackedTower
from framegate.models.transformers_private import SEGMENTS_KEY
from framegate.models.video_tokens import VideoTokens
from framegate.types import Int64Array

# longest clip that its processor samples at full rate
_MAX_SECONDS = 300

_VIDEO: Values = STOCK_VALUES | {
    "video_processor_type": "Glm4vVideoProcessor",
    "size": {"shortest_edge": 112 * 112, "longest_edge": 28 * 28 * 2 * 30000},
    "max_image_size": {"longest_edge": 28 * 28 * 2 * 30000},
    "image_mean": list(CLIP_MEAN),
    "image_std": list(CLIP_STD),
    "patch_size": 14,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "do_sample_frames": True,
    "fps": 2,
    "num_frames": 16,
    "max_duration": _MAX_SECONDS,
}


def sample_rule(num_frames: int, video_fps: float | None, settings: VideoSettings) -> Int64Array:
    """Choose frames as Glm4vVideoProcessor.sample_frames does: at a rate, an even number of them."""
    if video_fps is None:
        raise FrameError("GLM-4V samples by time; pass video_metadata with fps, or do_sample_frames=False.")
    last, seconds, fps = num_frames - 1, num_frames / video_fps, settings.fps or 2.0
    if seconds <= _MAX_SECONDS:
        times = np.arange(max(math.floor(seconds * fps), 1)) / fps
    elif int(_MAX_SECONDS * fps) >= num_frames:
        times = np.arange(num_frames) / video_fps
    else:
        times = np.linspace(0, seconds, int(_MAX_SECONDS * fps))
    chosen = np.unique(np.minimum(np.ceil(times * video_fps).astype(np.int64), last))
    return np.append(chosen, chosen[-1:]) if len(chosen) % 2 else chosen


class Glm4vTower(PackedTower):
    """GLM-4V's tower, of one model: each tube is a picture of its own, and its marks are those of pictures."""

    def run(self, rows: Tensor, grid_thw: Tensor, cells: CellPlan, kwargs: dict[str, Any]) -> Any:
        """Call the tower with one grid per segment, by which it places its learned positions."""
        tubes = torch.repeat_interleave(grid_thw, grid_thw[:, 0], dim=0)
        tubes[:, 0] = 1
        if len(kwargs[SEGMENTS_KEY]) - 1 < len(tubes):
            videos = zip(cells.keep.split(cells.cells_per_video), cells.shapes, strict=True)
            shown = torch.cat([keep.view(shape[0], -1).any(1) for keep, shape in videos])
            tubes = tubes[shown.to(tubes.device)]
        return self.tower(rows, grid_thw=tubes, return_dict=True, **kwargs)

    def types(self, call: dict[str, Any]) -> Tensor:
        """Kinds of tokens: a picture's placeholder between the marks of a video is the video's."""
        given = call.get("mm_token_type_ids")
        if given is not None:
            found: Tensor = given
            return found
        ids, config = call["input_ids"], self.inner.config
        opened, ended = (
            (ids == mark).cumsum(1) for mark in (config.video_start_token_id, config.video_end_token_id)
        )
        return (ids == config.image_token_id).int() * (1 + (opened > ended).int())

    def placeholders(self, call: dict[str, Any]) -> Tensor:
        """Pictures' placeholders that are videos'."""
        return self.types(call) == 2

    def media(self, encoded: Encoded, tokens: VideoTokens, call: dict[str, Any]) -> dict[str, Any]:
        """The tokens, under the name of pictures, whose placeholders generate counts.

        Raises:
            AttachmentError: pictures beside them, which the stock model cannot tell apart either.
        """
        if call.get("pixel_values") is not None:
            raise AttachmentError(
                f"{self.family.model_class} has one placeholder for pictures and for frames of a video, and takes both "
                "in no one call, attached or not: ask about them in two."
            )
        return {"image": super().media(encoded, tokens, call)["video"]}


def tiny_glm(config: str, tokenizer: Any, *, vision: Values, text: Values) -> Any:
    """The configuration of a tiny GLM-4V, by the name of its class: settings that replace the tiny ones."""
    import transformers

    tower = {
        "depth": 2,
        "hidden_size": 32,
        "out_hidden_size": 64,
        "num_heads": 2,
        "intermediate_size": 64,
        "image_size": 84,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    }
    ids = {
        f"{kind}_{place}token_id": tokenizer.convert_tokens_to_ids(token)
        for kind in ("image", "video")
        for place, token in (
            ("", f"<|{kind}|>"),
            ("start_", f"<|begin_of_{kind}|>"),
            ("end_", f"<|end_of_{kind}|>"),
        )
    }
    rope = {"mrope_section": [2, 3, 3], "partial_rotary_factor": 1.0}
    return getattr(transformers, config)(
        text_config=tiny_text(tokenizer, text, rope=rope), vision_config=tower | vision, **ids
    )


def _tiny_config(tokenizer: Any, vision: Values, text: Values) -> Any:
    return tiny_glm("Glm4vConfig", tokenizer, vision=vision, text=text)


FAMILY = Family(
    model_type="glm4v",
    model_class="Glm4vForConditionalGeneration",
    bind=Glm4vTower,
    recipe=ProcessorRecipe(
        processor="Glm4vProcessor",
        image_processor=("glm4v.image_processing_pil_glm4v", "Glm4vImageProcessorPil"),
        built=built_for_patches,
        video_values=_VIDEO,
        model_values=UNBOUNDED,
        size_rule=video_rule,
        sample_rule=sample_rule,
        counts_time=True,
        pictures_beside=False,
    ),
    tiny=TinyRecipe(
        config=_tiny_config,
        tokens=tuple(
            token
            for kind in ("image", "video")
            for token in (f"<|{kind}|>", f"<|begin_of_{kind}|>", f"<|end_of_{kind}|>")
        ),
        video_mark="<|begin_of_video|><|video|><|end_of_video|>",
        image_mark="<|begin_of_image|><|image|><|end_of_image|>",
        size=TINY_SIZE,
    ),
    # what is released as GLM-4.6V is of this class, with the processor of that
    processors_of=("glm46v",),
    timestamps="whole seconds after every tube, native",
    writes_times=True,
    reads_times=True,
    learned_positions=True,
    notes="Every tube is a picture to its tower; pictures and videos do not go into one call, as in the stock model.",
)
