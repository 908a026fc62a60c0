"""InternVL (2.5, 3): frames as pictures, four patches shuffled to a cell, and frame numbers in the prompt."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from framegate.errors import FrameError, UnsupportedModelError
from framegate.models.families._shared import (
    SQUARE_FRAMES,
    STOCK_VALUES,
    square_picture,
    square_rule,
    tiny_text,
)
from framegate.models.family import Family, ProcessorRecipe, TinyRecipe, Values, VideoSettings
from framegate.models.towers.frames import FramesTower, in_equal_parts
from framegate.models.towers.grid_encode import encode_alike, project_patches
from framegate.models.towers.offloaded import loaded
from framegate.models.towers.patches import Scaling
from framegate.tokenizers.gate.packing import NOTES_KEY, noted_shapes
from framegate.tokenizers.plan_config import PlanConfig
from framegate.types import Int64Array

_PATCH_PX = 14
_TINY_PX = 112

_VIDEO: Values = STOCK_VALUES | {
    "video_processor_type": "InternVLVideoProcessor",
    # of every released checkpoint; the class's own are 384 px and CLIP's
    "size": {"height": 448, "width": 448},
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "do_sample_frames": False,
    "fps": None,
    "initial_shift": True,
}


def _built(values: Mapping[str, Any]) -> tuple[Values, Values]:
    side_px = values["size"]["height"]
    return square_picture(values), {"image_seq_length": (side_px // _PATCH_PX // 2) ** 2}


def sample_rule(num_frames: int, video_fps: float | None, settings: VideoSettings) -> Int64Array:
    """Choose frames as InternVLVideoProcessor.sample_frames does: the middle ones of equal parts."""
    wanted = settings.num_frames
    if wanted is None and settings.fps is not None and video_fps is not None:
        wanted = int(num_frames / video_fps * settings.fps)
    if not wanted or wanted > num_frames:
        raise FrameError(
            f"InternVL samples num_frames of {num_frames}, or by fps where video_metadata has one; it was asked for "
            f"{wanted} frames."
        )
    step = num_frames / wanted
    return np.floor(np.arange(wanted) * step + step / 2).astype(np.int64)


def _video_text(processor: Any, shape: tuple[int, int, int], metadata: Any) -> str:
    """What InternVL's processor writes for whole frames of so many cells."""
    frames, rows, columns = shape
    shown = (
        f"{processor.start_image_token}{processor.image_token * (rows * columns)}{processor.end_image_token}"
    )
    return "\n".join(f"Frame{number}: {shown}" for number in range(1, frames + 1))


def _finish(data: dict[str, Tensor], values: Mapping[str, Any], config: PlanConfig) -> dict[str, Tensor]:
    """Rows of kept patches go through a processor that takes videos apart by number."""
    pixels, notes = data["pixel_values_videos"], data.get(NOTES_KEY)
    if pixels.ndim > 2 or notes is None:
        return data
    return data | {"pixel_values_videos": in_equal_parts(pixels, len(noted_shapes(notes)))}


class InternVLTower(FramesTower):
    """InternVL's vision transformer and its shuffle of patches to cells, of one model.

    Raises:
        UnsupportedModelError: cells that are not 2 x 2 patches, or features of another layer than the last.
    """

    consumed = ("pixel_values", "vision_feature_layer", "vision_feature_select_strategy", "image_sizes")
    only = MappingProxyType({"vision_feature_layer": -1, "vision_feature_select_strategy": "default"})

    def __init__(self, inner: Any, family: Family, scaling: Scaling) -> None:
        super().__init__(inner, family, scaling)
        config = inner.config
        layer, strategy = config.vision_feature_layer, config.vision_feature_select_strategy
        if config.downsample_ratio != 0.5 or self.side % 2 or layer != -1 or strategy != "default":
            raise UnsupportedModelError(
                f"{family.model_class} with downsample_ratio {config.downsample_ratio}, {self.side} patches a side, "
                f"vision_feature_layer {layer} and strategy {strategy!r} is not supported; supported are 0.5, an even "
                "number, -1 and 'default'."
            )

    def states(self, patches: Tensor, place: Tensor, lengths: list[int], call: dict[str, Any]) -> Tensor:
        """Last hidden states; frames of as many patches go together, for the tower's layers take no mask."""
        tower = self.tower
        rows = self._embedded(patches, place)
        with loaded(tower.embeddings):
            cls = (tower.embeddings.cls_token + self._places()[:, :1]).to(rows.device)

        def encode(frames: Tensor, index: Tensor) -> Tensor:
            states = torch.cat([cls.expand(len(frames), -1, -1), frames], 1)
            for block in tower.encoder.layer:
                states = block(states)
            encoded: Tensor = tower.layernorm(states)[:, 1:]
            return encoded

        return encode_alike(rows, lengths, encode)

    def pool(self, grid: Tensor) -> Tensor:
        """The model's own shuffle of patches, projected."""
        side = math.isqrt(grid.shape[1])
        shuffled = self.inner.pixel_shuffle(grid.unflatten(1, (side, side)), scale_factor=0.5).flatten(1, 2)
        projected: Tensor = self.inner.multi_modal_projector(shuffled)
        return projected

    def stock_features(self, pixels: Tensor, call: dict[str, Any]) -> Tensor:
        """The model's own features of frames."""
        config = self.inner.config
        stock: Tensor = self.inner.get_image_features(
            pixels.flatten(0, 1),
            vision_feature_layer=config.vision_feature_layer,
            vision_feature_select_strategy=config.vision_feature_select_strategy,
            return_dict=True,
        ).pooler_output
        return stock

    @property
    def _image_px(self) -> int:
        return int(self.inner.config.vision_config.image_size[0])

    @property
    def _patch_px(self) -> int:
        return int(self.inner.config.vision_config.patch_size[0])

    def _places(self) -> Tensor:
        """Learned positions of a whole frame, the class token's first: [1, n*n + 1, D]."""
        embeddings = self.tower.embeddings
        if embeddings.position_embeddings is None:
            return embeddings.cls_token.new_zeros(1, self.side**2 + 1, embeddings.cls_token.shape[-1])
        whole = embeddings.cls_token.expand(1, self.side**2 + 1, -1)
        found: Tensor = embeddings.interpolate_pos_encoding(whole, self._image_px, self._image_px)
        return found

    def _embedded(self, patches: Tensor, place: Tensor) -> Tensor:
        """Project patches that are cut already and add their positions: [K, D]."""
        projected = project_patches(self.tower, self.tower.embeddings.patch_embeddings.projection, patches)
        with loaded(self.tower.embeddings):
            places = self._places()[0, 1:].to(projected.device)
        rows: Tensor = self.tower.embeddings.dropout(projected + places[place.to(projected.device)])
        return rows


def _tiny_config(tokenizer: Any, vision: Values, text: Values) -> Any:
    from transformers import InternVLConfig

    tower: Values = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": [_TINY_PX, _TINY_PX],
        "patch_size": [_PATCH_PX, _PATCH_PX],
    }
    return InternVLConfig(
        text_config=tiny_text(tokenizer, {"model_type": "qwen2"} | text),
        vision_config=tower | vision,
        image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
        image_seq_length=(_TINY_PX // _PATCH_PX // 2) ** 2,
        downsample_ratio=0.5,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=False,
    )


FAMILY = Family(
    model_type="internvl",
    model_class="InternVLForConditionalGeneration",
    tower="frames",
    bind=InternVLTower,
    recipe=ProcessorRecipe(
        processor="InternVLProcessor",
        image_processor=("got_ocr2.image_processing_pil_got_ocr2", "GotOcr2ImageProcessorPil"),
        arguments=("image_seq_length",),
        built=_built,
        video_values=_VIDEO,
        model_values=SQUARE_FRAMES,
        cell_patches=2,
        size_rule=square_rule,
        sample_rule=sample_rule,
        finish=_finish,
        video_text=_video_text,
        pictures_beside=False,
    ),
    tiny=TinyRecipe(
        config=_tiny_config,
        tokens=("<IMG_CONTEXT>", "<img>", "</img>", "<video>"),
        video_mark="<video>",
        image_mark="<IMG_CONTEXT>",
        size={"height": _TINY_PX, "width": _TINY_PX},
        token_names={
            "start_image_token": "<img>",
            "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>",
            "video_token": "<video>",
        },
    ),
    positions="1-D RoPE",
    timestamps="frame numbers before every frame, native",
    writes_times=True,
    tower_modules=("vision_tower",),
    merger_modules=("multi_modal_projector",),
    learned_positions=True,
    contexts=("kept",),
    notes="Its pixels do not say which are frames: attach the processor; pictures do not go beside a video.",
)
