"""LLaVA-OneVision: a SigLIP tower over whole frames, pooled to cells, and a newline after every video."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from framegate.errors import UnsupportedModelError
from framegate.models.extra_placeholders import ExtraPlaceholders
from framegate.models.families._llava import layers_of, picture_media
from framegate.models.families._shared import (
    HALF,
    SQUARE_FRAMES,
    STOCK_VALUES,
    square_picture,
    square_rule,
    tiny_text,
)
from framegate.models.family import Family, ProcessorRecipe, TinyRecipe, Values
from framegate.models.mechanism import Encoded
from framegate.models.towers.grid import GridTower
from framegate.models.towers.grid_encode import embed_patches, encode_rows
from framegate.models.towers.grid_geometry import MediaFeatures
from framegate.models.towers.offloaded import loaded
from framegate.models.towers.patches import Scaling
from framegate.models.video_tokens import VideoTokens

_PATCH_PX = 14
# 7 patches of 14 px and 6 px more: an odd side and a margin, as released checkpoints have (27 patches in 384 px).
_TINY_PX = 104

_VIDEO: Values = STOCK_VALUES | {
    "video_processor_type": "LlavaOnevisionVideoProcessor",
    "size": {"height": 384, "width": 384},
    # SigLIP's, which every released checkpoint sets; the class's own are CLIP's
    "image_mean": list(HALF),
    "image_std": list(HALF),
    "do_sample_frames": False,
    "fps": None,
}


def _built(values: Mapping[str, Any]) -> tuple[Values, Values]:
    side_px = values["size"]["height"]
    own = {"num_image_tokens": (side_px // _PATCH_PX) ** 2, "vision_feature_select_strategy": "full"}
    # the class's own sizes, one to six tiles along a side, for tiles of another size
    return square_picture(values) | {"image_grid_pinpoints": grid_pinpoints(side_px, 6)}, own


def grid_pinpoints(image_px: int, tiles: int) -> list[list[int]]:
    """Sizes that pictures are fitted to: up to so many tiles along a side."""
    sides = range(1, tiles + 1)
    return [[image_px * rows, image_px * columns] for rows in sides for columns in sides]


def _tiny_config(tokenizer: Any, vision: Values, text: Values) -> Any:
    from transformers import LlavaOnevisionConfig

    tower: Values = {
        "model_type": "siglip_vision_model",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": _TINY_PX,
        "patch_size": _PATCH_PX,
        "vision_use_head": False,
    } | vision
    return LlavaOnevisionConfig(
        text_config=tiny_text(tokenizer, {"model_type": "qwen2"} | text),
        vision_config=tower,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        image_grid_pinpoints=grid_pinpoints(tower["image_size"], 2),
    )


class LlavaOnevisionTower(GridTower):
    """SigLIP in LLaVA-OneVision, of one model.

    Raises:
        UnsupportedModelError: another vision tower than SigLIP, or its first patch is cut off.
    """

    consumed = (
        "pixel_values",
        "image_sizes",
        "image_sizes_videos",
        "batch_num_images",
        "vision_feature_layer",
        "vision_feature_select_strategy",
    )
    only = MappingProxyType({"vision_feature_select_strategy": "full"})

    def __init__(self, inner: Any, family: Family, scaling: Scaling) -> None:
        super().__init__(inner, family, scaling)
        vision, strategy = inner.config.vision_config, inner.config.vision_feature_select_strategy
        if vision.model_type != "siglip_vision_model" or strategy != "full":
            raise UnsupportedModelError(
                f"{family.model_class} with a {vision.model_type} tower and vision_feature_select_strategy "
                f"{strategy!r} is not supported; supported is siglip_vision_model with 'full'."
            )

    def states(self, patches: Tensor, place: Tensor, lengths: list[int], call: dict[str, Any]) -> Tensor:
        """Hidden states of the layers that the model reads, projected."""
        rows, lengths = embed_patches(self.tower, patches, place, lengths)
        states = encode_rows(self.tower, rows, lengths, layers_of(self.inner, call))
        projected: Tensor = self.inner.multi_modal_projector(states)
        return projected

    def pool(self, grid: Tensor) -> Tensor:
        """The model's own bilinear pooling."""
        pooled: Tensor = self.inner.apply_pooling(grid)
        return pooled

    def stock_features(self, pixels: Tensor, call: dict[str, Any]) -> Tensor:
        """All but the newline of the model's own features."""
        names = ("vision_feature_layer", "vision_feature_select_strategy")
        given = {name: call.get(name) for name in names}
        with loaded(self.inner):
            stock: Tensor = self.inner.get_video_features(pixels, return_dict=True, **given).pooler_output
        return stock[:, : -self.family.extra.after_video]

    def media(self, encoded: Encoded, tokens: VideoTokens, call: dict[str, Any]) -> dict[str, Any]:
        """The tokens of each video and the newline after them, and the features of images."""
        with loaded(self.inner):
            newline = self.inner.image_newline[None].to(tokens.features)
        rows = [torch.cat([part, newline]) for part in tokens.features.split(tokens.counts)]
        names = ("image_sizes", "vision_feature_layer", "vision_feature_select_strategy", "batch_num_images")
        given = {name: call.get(name) for name in names}
        videos = MediaFeatures(pooler_output=rows)
        return {"video": videos} | picture_media(self.inner, call.get("pixel_values"), given)


FAMILY = Family(
    model_type="llava_onevision",
    model_class="LlavaOnevisionForConditionalGeneration",
    tower="grid",
    bind=LlavaOnevisionTower,
    recipe=ProcessorRecipe(
        processor="LlavaOnevisionProcessor",
        image_processor=(
            "llava_onevision.image_processing_pil_llava_onevision",
            "LlavaOnevisionImageProcessorPil",
        ),
        arguments=(
            "num_image_tokens",
            "vision_feature_select_strategy",
            "vision_aspect_ratio",
            "image_token",
            "video_token",
        ),
        built=_built,
        video_values=_VIDEO,
        model_values=SQUARE_FRAMES,
        cell_patches=2,
        size_rule=square_rule,
    ),
    tiny=TinyRecipe(
        config=_tiny_config,
        tokens=("<image>", "<video>"),
        video_mark="<video>",
        image_mark="<image>",
        size={"height": _TINY_PX, "width": _TINY_PX},
    ),
    positions="1-D RoPE",
    timestamps="stamps after every frame (framegate)",
    extra=ExtraPlaceholders(after_video=1),
    tower_modules=("vision_tower",),
    merger_modules=("multi_modal_projector", "image_newline"),
    learned_positions=True,
    contexts=("kept",),
    notes="Cells are those of the pooled 14 x 14 grid; the newline after a video always stays.",
)
