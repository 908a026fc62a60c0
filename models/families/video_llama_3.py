"""VideoLLaMA3: a packed tower of single frames whose patches are averaged to cells, and a compression of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from framegate.errors import PlaceholderError
from framegate.models.cell_plan import CellPlan
from framegate.models.families._shared import (
    HALF,
    STOCK_VALUES,
    TINY_SIZE,
    UNCAPPED,
    built_for_patches,
    qwen_token_ids,
    shared_rule,
    tiny_text,
)
from framegate.models.family import Family, ProcessorRecipe, TinyRecipe, Values
from framegate.models.mechanism import Encoded
from framegate.models.towers.one_axis import OneAxisTower
from framegate.models.video_tokens import Shape, VideoTokens
from framegate.tokenizers.plan_config import PlanConfig

_MERGE = 2
MASK_KEY = "video_compression_mask"
# a cell that changed by less than this share of a grey level, normalised, has no token of its own
_SAME = 0.1

_VIDEO: Values = STOCK_VALUES | {
    "video_processor_type": "VideoLlama3VideoProcessor",
    "size": {"shortest_edge": 128 * 28 * 28, "longest_edge": 28 * 28 * 768},
    "image_mean": list(HALF),
    "image_std": list(HALF),
    "patch_size": 14,
    "temporal_patch_size": 1,
    "merge_size": _MERGE,
    "min_frames": 4,
    "max_frames": 180,
    "do_sample_frames": False,
    "fps": None,
    "return_metadata": True,
    "use_token_compression": True,
}


def _finish(data: dict[str, Tensor], values: Mapping[str, Any], config: PlanConfig) -> dict[str, Tensor]:
    """Add merge sizes and the mask of its own compression, which stands aside where framegate reduces."""
    grids, merge = data["video_grid_thw"], int(values["merge_size"])
    mask = torch.ones(int(grids.prod(1).sum()) // merge**2, dtype=torch.bool)
    if values.get("use_token_compression") and config.gate is None and not config.later_stages:
        mask = own_compression(data["pixel_values_videos"], grids, merge)
    return data | {"video_merge_sizes": torch.full((len(grids),), merge), MASK_KEY: mask}


def own_compression(pixels: Tensor, grids: Tensor, merge: int) -> Tensor:
    """Mark the cells that VideoLLaMA3 itself would keep, bool [N], by the rows of whole videos and their grids [V, 3].

    Source: VideoLlama3VideoProcessor._get_compression_mask (DiffFP).
    """
    kept = []
    for rows, (tubes, height, width) in zip(
        pixels.split(grids.prod(1).tolist()), grids.tolist(), strict=True
    ):
        cells = rows.view(tubes, height * width // merge**2, -1)
        changed = (cells[1:] - cells[:-1]).abs().mean(-1) * 255 > _SAME
        mask = torch.cat([changed.new_ones(1, cells.shape[1]), changed])
        mask[:, 0] |= ~mask.any(1)
        kept.append(mask.flatten())
    return torch.cat(kept)


class VideoLlama3Tower(OneAxisTower):
    """VideoLLaMA3's tower and projector, of one model."""

    consumed = (
        "pixel_values",
        "image_grid_thw",
        "image_merge_sizes",
        "video_grid_thw",
        "video_merge_sizes",
        MASK_KEY,
        "mm_token_type_ids",
    )
    tube_frames = 1
    merge_size = _MERGE

    def shapes(self, call: dict[str, Any]) -> list[Shape]:
        """Frames, rows and columns of cells of each video."""
        sizes = call.get("video_merge_sizes")
        if sizes is None or bool((sizes != _MERGE).any()):
            found = None if sizes is None else sizes.tolist()
            raise PlaceholderError(
                f"video_merge_sizes is {found}; VideoLLaMA3's videos have {_MERGE} patches along the side of a cell."
            )
        return super().shapes(call)

    def run(self, rows: Tensor, grid_thw: Tensor, cells: CellPlan, kwargs: dict[str, Any]) -> Any:
        """Call the tower with its cells side by side, as one strip: it averages the patches of each to one token."""
        strip = grid_thw.new_tensor([[1, _MERGE, len(rows) // _MERGE]])
        merge_sizes = grid_thw.new_full((1,), _MERGE)
        out = self.tower(rows, grid_thw=strip, merge_sizes=merge_sizes, return_dict=True, **kwargs)
        out.pooler_output = self.inner.projector(out.last_hidden_state)
        return out

    def encode(self, pixels: Tensor, call: dict[str, Any], cells: CellPlan, **how: Any) -> Encoded:
        """Features of the kept cells in token order."""
        note = "VideoLLaMA3's own compression (DiffFP) stands aside: framegate decides which cells stay"
        encoded = super().encode(pixels, call, cells, **how)
        return encoded._replace(notes=(*encoded.notes, note))

    def media(self, encoded: Encoded, tokens: VideoTokens, call: dict[str, Any]) -> dict[str, Any]:
        """The tokens of the videos, and the features of pictures."""
        media = super().media(encoded, tokens, call | {"pixel_values": None})
        if call.get("pixel_values") is not None:
            names = ("pixel_values", "image_grid_thw", "image_merge_sizes")
            media["image"] = self.inner.get_image_features(*(call[name] for name in names), return_dict=True)
        return media

    def _check_rows(self, call: dict[str, Any], wanted: int) -> None:
        mask = call.get(MASK_KEY)
        if mask is not None and not bool(mask.all()):
            raise PlaceholderError(
                f"VideoLLaMA3's own compression (DiffFP) left {int((~mask).sum()):,} of {len(mask):,} cells out, and a "
                "front end would reduce the prompt twice. Set use_token_compression=False in the processor's call, or "
                "attach the processor too."
            )
        super()._check_rows(call, wanted)


def _tiny_config(tokenizer: Any, vision: Values, text: Values) -> Any:
    from transformers import VideoLlama3Config

    tower = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "patch_size": 14,
    }
    ids = qwen_token_ids(tokenizer)
    return VideoLlama3Config(
        text_config=tiny_text(tokenizer, {"model_type": "qwen2"} | text),
        vision_config=tower | vision,
        image_token_id=ids["image_token_id"],
        video_token_id=ids["video_token_id"],
    )


FAMILY = Family(
    model_type="video_llama_3",
    model_class="VideoLlama3ForConditionalGeneration",
    bind=VideoLlama3Tower,
    recipe=ProcessorRecipe(
        processor="VideoLlama3Processor",
        image_processor=("video_llama_3.image_processing_pil_video_llama_3", "VideoLlama3ImageProcessorPil"),
        built=built_for_patches,
        video_values=_VIDEO,
        model_values=UNCAPPED,
        size_rule=shared_rule,
        finish=_finish,
        assumed_fps=1.0,
    ),
    tiny=TinyRecipe(
        config=_tiny_config,
        video_mark="<|video_pad|>",
        image_mark="<|image_pad|>",
        size=TINY_SIZE,
    ),
    positions="1-D RoPE",
    timestamps="text before every frame, native",
    writes_times=True,
    reads_times=True,
    tower_modules=("vision_model",),
    merger_modules=("projector",),
    notes="Its own compression (DiffFP) stands aside where framegate reduces; prompts that it shortened are refused.",
)
