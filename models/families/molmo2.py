"""Molmo2: frames of one square size, nine patches pooled to a cell by attention, and features added to placeholders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from framegate.errors import ConfigError, PlaceholderError
from framegate.models.families._shared import STOCK_VALUES, UNBOUNDED, square_rule, tiny_text
from framegate.models.family import Family, ProcessorRecipe, TinyRecipe, Values, VideoSettings
from framegate.models.towers.framewise import FramewiseTower
from framegate.models.towers.offloaded import loaded
from framegate.models.towers.reordered import by_cells, by_rows, cell_order, channels_first, channels_last
from framegate.tokenizers.plan_config import PlanConfig
from framegate.types import Int64Array

_PATCH_PX = 14
# patches along the side of a cell of a video; pictures have cells of two
_MERGE = 3
_TINY_PX = 126

_VIDEO: Values = STOCK_VALUES | {
    "video_processor_type": "Molmo2VideoProcessor",
    "size": {"height": 378, "width": 378},
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "resample": 2,
    "patch_size": _PATCH_PX,
    "pooling_size": [_MERGE, _MERGE],
    "do_sample_frames": True,
    "num_frames": 64,
    "max_fps": 2,
    "fps": None,
}


def _built(values: Mapping[str, Any]) -> tuple[Values, Values]:
    return {"size": values["size"]}, {}


def _bounds(values: Mapping[str, Any]) -> tuple[int, int]:
    """The one square that frames are brought to, of whole cells."""
    size, pooled = dict(values["size"]), list(values["pooling_size"])
    side_px = size.get("height")
    cell_px = values["patch_size"] * _MERGE
    if pooled != [_MERGE, _MERGE] or not side_px or side_px != size.get("width") or side_px % cell_px:
        raise ConfigError(
            f"size is {size} and pooling_size {pooled}; served are squares of a multiple of {cell_px} px, pooled by "
            f"{[_MERGE, _MERGE]}."
        )
    return side_px**2, side_px**2


def sample_rule(num_frames: int, video_fps: float | None, settings: VideoSettings) -> Int64Array:
    """Choose frames as Molmo2VideoProcessor.sample_frames does: so many, but no more than so many a second."""
    most_fps = settings.stock["max_fps"]
    fps = video_fps or settings.fps or most_fps
    if settings.fps is not None:
        wanted = int(num_frames / fps * settings.fps)
    else:
        wanted = settings.num_frames or _VIDEO["num_frames"]
        wanted = min(wanted, int(num_frames / fps * most_fps)) if fps > most_fps else wanted
    wanted = max(min(wanted, num_frames), 1)
    return torch.arange(0, num_frames, num_frames / wanted).int().numpy().astype(np.int64)


def _finish(data: dict[str, Tensor], values: Mapping[str, Any], config: PlanConfig) -> dict[str, Tensor]:
    """Name sizes, and the patches of each cell, as the stock processor does; whole videos go as it lays them out."""
    grids, rows = data["video_grid_thw"], data["pixel_values_videos"]
    rest = {name: value for name, value in data.items() if name != "video_grid_thw"}
    rest["video_grids"] = grids // torch.tensor([1, _MERGE, _MERGE])
    rest["video_token_pooling"] = cell_order(grids, _MERGE).view(-1, _MERGE**2).int()
    whole = len(rows) == int(grids.prod(1).sum())
    return rest | {"pixel_values_videos": _stock(rows, grids) if whole else rows}


def _stock(rows: Tensor, grid_thw: Tensor) -> Tensor:
    """Rows of whole videos, cell by cell, as frames of patches: [F, n, p * p * C]."""
    area = int(grid_thw[0, 1:].prod())
    return rearrange(channels_last(by_rows(rows, grid_thw, _MERGE)), "(f n) d -> f n d", n=area)


class Molmo2Tower(FramewiseTower):
    """Molmo2's vision transformer, and the attention that pools its patches, of one model."""

    # the language model lets placeholders of pictures and frames see one another both ways
    columns = ("mm_token_type_ids",)
    consumed = (
        "pixel_values",
        "image_token_pooling",
        "image_grids",
        "image_num_crops",
        "video_token_pooling",
        "video_grids",
        "video_grid_thw",
    )
    tube_frames = 1
    merge_size = _MERGE

    def grids(self, call: dict[str, Any]) -> Tensor:
        """Frames, rows and columns of patches of each video, by video_grids."""
        cells = call.get("video_grids")
        if cells is None:
            raise PlaceholderError(
                "pixel_values_videos came without video_grids; pass both, of one processor call."
            )
        grid_thw: Tensor = cells * cells.new_tensor([1, _MERGE, _MERGE])
        wanted = self.inner.config.vision_config.num_position_embeddings
        if bool((grid_thw[:, 1] * grid_thw[:, 2] != wanted).any()):
            raise PlaceholderError(
                f"video_grids is {cells.tolist()}; served are frames of {wanted} patches, {_MERGE**2} a cell."
            )
        return grid_thw

    def rows(self, call: dict[str, Any], grid_thw: Tensor) -> Tensor:
        """Patches of stock frames [F, n, p * p * C], cell by cell."""
        return channels_first(by_cells(call["pixel_values_videos"].flatten(0, 1), grid_thw, _MERGE))

    def stock(self, rows: Tensor, call: dict[str, Any], grid_thw: Tensor) -> Tensor:
        """Frames of patches, as the stock processor lays them out."""
        return _stock(rows, grid_thw)

    def frames(self, patches: Tensor, places: Tensor) -> Tensor:
        """The layers that the adapter reads, pooled by it: nine patches of a cell stand side by side."""
        tower, adapter = self.tower, self.inner.multi_modal_projector
        side = self.inner.config.vision_config.image_size[1] // self.layout.patch_size_px
        with loaded(tower):
            learned = tower.positional_embedding[places[..., 0] * side + places[..., 1]]
        states = tower.patch_embedding(channels_last(patches))
        found = [states + learned.to(states)]
        for block in tower.layers:
            found.append(block(found[-1], None))
        wanted = adapter.config.vision_feature_layer
        read = torch.cat([found[layer + 1 if layer >= 0 else layer] for layer in wanted], dim=-1)
        of_cell = torch.arange(read.shape[0] * read.shape[1], device=read.device).view(-1, _MERGE**2)
        pooled: Tensor = adapter(read, of_cell).last_hidden_state
        return rearrange(pooled, "(f k) d -> f k d", f=len(patches))


def _tiny_config(tokenizer: Any, vision: Values, text: Values) -> Any:
    from transformers import Molmo2Config

    tower: Values = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "image_size": [_TINY_PX, _TINY_PX],
        "patch_size": _PATCH_PX,
    }
    adapter: Values = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "text_hidden_size": 64,
        "vision_feature_layer": [2, 0],
    }
    ids = {
        "image_start_token_id": "<im_start>",
        "low_res_image_start_token_id": "<low_res_im_start>",
        "image_end_token_id": "<im_end>",
        "image_patch_id": "<im_patch>",
        "frame_start_token_id": "<frame_start>",
        "frame_end_token_id": "<frame_end>",
    }
    return Molmo2Config(
        text_config=tiny_text(tokenizer, {"head_dim": 16, "additional_vocab_size": 0} | text),
        vision_config=tower | vision,
        adapter_config=adapter,
        **{name: tokenizer.convert_tokens_to_ids(token) for name, token in ids.items()},
    )


FAMILY = Family(
    model_type="molmo2",
    model_class="Molmo2ForConditionalGeneration",
    tower="framewise",
    bind=Molmo2Tower,
    recipe=ProcessorRecipe(
        processor="Molmo2Processor",
        image_processor=("molmo2.image_processing_molmo2", "Molmo2ImageProcessor"),
        arguments=(
            "image_use_col_tokens",
            "use_single_crop_col_tokens",
            "use_single_crop_start_token",
            "video_use_col_tokens",
            "use_frame_special_tokens",
        ),
        built=_built,
        video_values=_VIDEO,
        model_values=UNBOUNDED | {"temporal_patch_size": 1, "merge_size": _MERGE},
        size_rule=square_rule,
        bounds=_bounds,
        sizes_key="video_grids",
        sample_rule=sample_rule,
        finish=_finish,
        pictures_beside=False,
        assumed_fps=2.0,
    ),
    tiny=TinyRecipe(
        config=_tiny_config,
        tokens=(
            "<|image|>",
            "<|video|>",
            "<im_patch>",
            "<im_col>",
            "<im_start>",
            "<low_res_im_start>",
            "<frame_start>",
            "<im_end>",
            "<frame_end>",
            "<im_low>",
        ),
        video_mark="<|video|>",
        image_mark="<|image|>",
        size={"height": _TINY_PX, "width": _TINY_PX},
    ),
    lowest_transformers="5.24",
    needs=("torchvision",),
    positions="1-D RoPE",
    timestamps="seconds to a tenth before every frame, native",
    writes_times=True,
    reads_times=True,
    tower_modules=("vision_tower",),
    merger_modules=("multi_modal_projector",),
    learned_positions=True,
    contexts=("kept",),
    notes="Kept placeholders see one another both ways, as in the stock model; pictures do not go beside a video, nor "
    "a second video into its prompt. Frames are scaled with antialiasing, which its stock processor leaves out.",
)
