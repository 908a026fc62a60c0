"""LLaVA-NeXT-Video: a CLIP tower over the middle of frames, its class token cut off, four patches pooled to a cell."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from framegate.errors import UnsupportedModelError
from framegate.models.families._llava import layers_of, picture_media
from framegate.models.families._shared import (
    SQUARE_FRAMES,
    cropped_picture,
    cropped_video,
    square_rule,
    tiny_clip,
    tiny_text,
)
from framegate.models.family import Family, ProcessorRecipe, TinyRecipe, Values
from framegate.models.mechanism import Encoded
from framegate.models.towers.grid import GridTower
from framegate.models.towers.grid_encode import class_rows, embed_patches, encode_rows
from framegate.models.towers.grid_geometry import MediaFeatures
from framegate.models.towers.patches import Scaling
from framegate.models.video_tokens import VideoTokens

_PATCH_PX = 14
_TINY_PX = 112


def _built(values: Mapping[str, Any]) -> tuple[Values, Values]:
    side_px = values["crop_size"]["height"]
    own = {
        "patch_size": _PATCH_PX,
        "num_additional_image_tokens": 1,
        "vision_feature_select_strategy": "default",
    }
    return cropped_picture(values) | {"image_grid_pinpoints": _pinpoints(side_px)}, own


def _pinpoints(side_px: int) -> list[list[int]]:
    """Sizes that pictures are fitted to: the class's own shapes, for tiles of any size."""
    shapes = ((1, 2), (2, 1), (2, 2), (3, 1), (1, 3))
    return [[side_px * rows, side_px * columns] for rows, columns in shapes]


def _tiny_config(tokenizer: Any, vision: Values, text: Values) -> Any:
    from transformers import LlavaNextVideoConfig

    return LlavaNextVideoConfig(
        text_config=tiny_text(tokenizer, {"model_type": "llama"} | text),
        vision_config=tiny_clip(_TINY_PX, _PATCH_PX) | vision,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
        image_grid_pinpoints=_pinpoints(_TINY_PX),
    )


class LlavaNextVideoTower(GridTower):
    """CLIP in LLaVA-NeXT-Video, of one model.

    Raises:
        UnsupportedModelError: another vision tower than CLIP, a class token that stays, or cells of other than 2 x 2.
    """

    consumed = ("pixel_values", "image_sizes", "vision_feature_layer", "vision_feature_select_strategy")
    only = MappingProxyType({"vision_feature_select_strategy": "default"})

    def __init__(self, inner: Any, family: Family, scaling: Scaling) -> None:
        super().__init__(inner, family, scaling)
        config = inner.config
        kind, strategy = config.vision_config.model_type, config.vision_feature_select_strategy
        stride = config.spatial_pool_stride
        if (kind, strategy, stride) != ("clip_vision_model", "default", 2) or self.side % 2:
            raise UnsupportedModelError(
                f"{family.model_class} with a {kind} tower, vision_feature_select_strategy {strategy!r}, "
                f"spatial_pool_stride {stride} and {self.side} patches a side is not supported; supported are "
                "clip_vision_model, 'default', 2 and an even number."
            )

    def states(self, patches: Tensor, place: Tensor, lengths: list[int], call: dict[str, Any]) -> Tensor:
        """Hidden states of the layers that the model reads, without those of class tokens."""
        rows, lengths = embed_patches(self.tower, patches, place, lengths)
        states = encode_rows(self.tower, rows, lengths, layers_of(self.inner, call))
        return states[~class_rows(lengths).to(states.device)]

    def pool(self, grid: Tensor) -> Tensor:
        """The model's own pooling, an average, a maximum or a convolution."""
        pooled: Tensor = self.inner.vision_resampler(grid)
        return pooled

    def encode_kept(self, patches: Tensor, keep: Tensor, call: dict[str, Any] | None = None) -> Tensor:
        """Encode, pool and project: the projector comes last, and reads kept cells alone."""
        projected: Tensor = self.inner.multi_modal_projector(super().encode_kept(patches, keep, call))
        return projected

    def stock_features(self, pixels: Tensor, call: dict[str, Any]) -> Tensor:
        """The model's own features."""
        given = {name: call.get(name) for name in self.consumed[2:]}
        stock = self.inner.get_video_features(pixels, return_dict=True, **given).pooler_output
        # before 5.23 frame by frame
        return torch.stack(tuple(stock)).flatten(1, -2)

    def media(self, encoded: Encoded, tokens: VideoTokens, call: dict[str, Any]) -> dict[str, Any]:
        """The tokens of each video, and the features of images."""
        given = {name: call.get(name) for name in self.consumed[1:]}
        videos = MediaFeatures(pooler_output=list(tokens.features.split(tokens.counts)))
        return {"video": videos} | picture_media(self.inner, call.get("pixel_values"), given)


FAMILY = Family(
    model_type="llava_next_video",
    model_class="LlavaNextVideoForConditionalGeneration",
    tower="grid",
    bind=LlavaNextVideoTower,
    recipe=ProcessorRecipe(
        processor="LlavaNextVideoProcessor",
        image_processor=("llava_next.image_processing_pil_llava_next", "LlavaNextImageProcessorPil"),
        arguments=(
            "patch_size",
            "num_additional_image_tokens",
            "vision_feature_select_strategy",
            "image_token",
            "video_token",
        ),
        built=_built,
        # 336 px of every released checkpoint; the class's own are 224
        video_values=cropped_video("LlavaNextVideoVideoProcessor", 336),
        model_values=SQUARE_FRAMES,
        cell_patches=2,
        size_rule=square_rule,
    ),
    tiny=TinyRecipe(
        config=_tiny_config,
        tokens=("<image>", "<video>"),
        video_mark="<video>",
        image_mark="<image>",
        size={"shortest_edge": _TINY_PX},
    ),
    positions="1-D RoPE",
    timestamps="stamps after every frame (framegate)",
    tower_modules=("vision_tower",),
    merger_modules=("vision_resampler", "multi_modal_projector", "image_newline"),
    learned_positions=True,
    contexts=("kept",),
    notes="Frames are cropped to their middle square, as its stock processor does; the class token sees kept patches.",
)
