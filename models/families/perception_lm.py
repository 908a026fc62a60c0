"""PerceptionLM: a Perception Encoder of timm over whole frames, averaged to cells; patches have rotary places."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from framegate.errors import UnsupportedModelError
from framegate.models.families._shared import HALF, SQUARE_FRAMES, STOCK_VALUES, square_rule, tiny_text
from framegate.models.family import Family, ProcessorRecipe, TinyRecipe, Values
from framegate.models.mechanism import Encoded
from framegate.models.towers.grid import GridTower
from framegate.models.towers.grid_geometry import MediaFeatures
from framegate.models.towers.patches import Scaling
from framegate.models.towers.timm_vit import encode_patches
from framegate.models.video_tokens import VideoTokens

_PATCH_PX = 14
_CELL_PATCHES = 2
_TINY_PX = 112

_VIDEO: Values = STOCK_VALUES | {
    "video_processor_type": "PerceptionLMVideoProcessor",
    "size": {"height": 448, "width": 448},
    "image_mean": list(HALF),
    "image_std": list(HALF),
    "do_sample_frames": False,
    "fps": None,
}


def _built(values: Mapping[str, Any]) -> tuple[Values, Values]:
    of_images = {"tile_size": values["size"]["height"]} | {
        name: values[name] for name in ("image_mean", "image_std")
    }
    return of_images, {"patch_size": _PATCH_PX, "pooling_ratio": _CELL_PATCHES}


class PerceptionLMTower(GridTower):
    """The Perception Encoder in PerceptionLM, of one model.

    Raises:
        UnsupportedModelError: another tower of timm, or cells of another size.
    """

    def __init__(self, inner: Any, family: Family, scaling: Scaling) -> None:
        super().__init__(inner, family, scaling)
        config = inner.config
        named, ratio = config.vision_config.architecture, config.projector_pooling_ratio
        if not _is_perception_encoder(self._vision, classes=int(config.vision_use_cls_token)):
            raise UnsupportedModelError(
                f"{family.model_class} with a tower {named!r} is not supported; supported are Perception Encoders of "
                "timm (vit_pe_core_*), with vision_use_cls_token as the tower has one."
            )
        if self._patch_px != _PATCH_PX or ratio != self.merge_size or self.side % self.merge_size:
            raise UnsupportedModelError(
                f"{family.model_class} with {self.side} patches of {self._patch_px} px a side and "
                f"projector_pooling_ratio {ratio} is not supported; supported are an even number of {_PATCH_PX} px, "
                f"and {self.merge_size}."
            )

    def states(self, patches: Tensor, place: Tensor, lengths: list[int], call: dict[str, Any]) -> Tensor:
        """Last hidden states, projected."""
        projector = self.inner.multi_modal_projector
        states, _ = encode_patches(self._vision, patches, place, lengths)
        projected: Tensor = projector.linear_2(projector.gelu(projector.linear_1(states)))
        return projected

    def pool(self, grid: Tensor) -> Tensor:
        """The model's own average."""
        pooled: Tensor = self.inner.multi_modal_projector.pooling(grid)
        return pooled

    def stock_features(self, pixels: Tensor, call: dict[str, Any]) -> Tensor:
        """The model's own features of frames."""
        stock: Tensor = self.inner.get_image_features(pixels, return_dict=True).pooler_output
        return stock

    def media(self, encoded: Encoded, tokens: VideoTokens, call: dict[str, Any]) -> dict[str, Any]:
        """The tokens of each video, and the features of images."""
        rows = list(tokens.features.split(tokens.counts))
        media: dict[str, Any] = {"video": MediaFeatures(pooler_output=rows)}
        if call.get("pixel_values") is not None:
            images = self.inner.get_image_features(call["pixel_values"], return_dict=True)
            media["image"] = MediaFeatures(pooler_output=images.pooler_output)
        return media

    @property
    def _vision(self) -> Any:
        return self.tower.timm_model

    @property
    def _image_px(self) -> int:
        return int(self._vision.patch_embed.img_size[0])

    @property
    def _patch_px(self) -> int:
        return int(self._vision.patch_embed.patch_size[0])


def _is_perception_encoder(vision: Any, *, classes: int) -> bool:
    """Tell a tower that is run as `states` runs it: one rotary table for all layers, learned places of all tokens."""
    if type(vision).__name__ != "Eva" or type(vision.rope).__name__ != "RotaryEmbeddingCat":
        return False
    rows, columns = vision.patch_embed.grid_size
    has_places = vision.pos_embed is not None and vision.pos_embed.shape[1] == rows * columns + classes
    has_front = vision.num_prefix_tokens == classes and vision.reg_token is None
    return rows == columns and has_places and has_front and vision.patch_drop is None


def _tiny_config(tokenizer: Any, vision: Values, text: Values) -> Any:
    from transformers import PerceptionLMConfig

    tower: Values = {
        "embed_dim": 32,
        "depth": 3,
        "num_heads": 2,
        "img_size": _TINY_PX,
        "ref_feat_shape": [_TINY_PX // _PATCH_PX] * 2,
        "init_values": 0.1,
        "global_pool": "",
        "use_post_transformer_norm": False,
    }
    return PerceptionLMConfig(
        text_config=tiny_text(tokenizer, {"model_type": "llama"} | text),
        vision_config={
            "model_type": "timm_wrapper",
            "architecture": "vit_pe_core_large_patch14_336",
            "do_pooling": False,
            "model_args": tower | vision,
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<|image|>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<|video|>"),
        projector_pooling_ratio=_CELL_PATCHES,
        vision_use_cls_token=True,
    )


FAMILY = Family(
    model_type="perception_lm",
    model_class="PerceptionLMForConditionalGeneration",
    tower="grid",
    bind=PerceptionLMTower,
    recipe=ProcessorRecipe(
        processor="PerceptionLMProcessor",
        image_processor=("perception_lm.image_processing_perception_lm", "PerceptionLMImageProcessor"),
        arguments=("patch_size", "pooling_ratio"),
        built=_built,
        video_values=_VIDEO,
        model_values=SQUARE_FRAMES,
        cell_patches=_CELL_PATCHES,
        size_rule=square_rule,
    ),
    tiny=TinyRecipe(
        config=_tiny_config,
        tokens=("<|image|>", "<|video|>"),
        video_mark="<|video|>",
        image_mark="<|image|>",
        size={"height": _TINY_PX, "width": _TINY_PX},
        token_names={"image_token": "<|image|>", "video_token": "<|video|>"},
    ),
    needs=("timm", "torchvision"),
    positions="1-D RoPE",
    timestamps="stamps after every frame (framegate)",
    tower_modules=("vision_tower",),
    merger_modules=("multi_modal_projector",),
    learned_positions=True,
    contexts=("kept",),
    notes="Its tower is timm's: it needs timm and torchvision. Every kept patch keeps its rotary place.",
)
