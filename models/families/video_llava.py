"""Video-LLaVA: a CLIP tower of its own for videos; every patch and the class token of every frame is a token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from framegate.errors import UnsupportedModelError
from framegate.kernels.backend import Backend
from framegate.models.cell_plan import CellPlan
from framegate.models.extra_placeholders import ExtraPlaceholders
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
from framegate.models.towers.grid_encode import class_rows, embed_patches, encode_rows, with_class_tokens
from framegate.models.towers.grid_geometry import MediaFeatures, anchor_tubes
from framegate.models.towers.patches import Scaling
from framegate.models.video_tokens import VideoTokens, first_tubes, tokens_per_tube

_PATCH_PX = 14
_TINY_PX = 56


def _built(values: Mapping[str, Any]) -> tuple[Values, Values]:
    own = {
        "patch_size": _PATCH_PX,
        "num_additional_image_tokens": 1,
        "vision_feature_select_strategy": "default",
    }
    return cropped_picture(values), own


def _tiny_config(tokenizer: Any, vision: Values, text: Values) -> Any:
    from transformers import VideoLlavaConfig

    return VideoLlavaConfig(
        text_config=tiny_text(tokenizer, {"model_type": "llama"} | text),
        vision_config=tiny_clip(_TINY_PX, _PATCH_PX) | vision,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
    )


class VideoLlavaTower(GridTower):
    """CLIP in Video-LLaVA, of one model.

    The class token of a frame is encoded among its kept patches, and goes into the prompt where its frame has a token.
    A frame that has tokens again though it has no patch of its own (refill) takes the class token of the frame before.

    Raises:
        UnsupportedModelError: another vision tower than CLIP.
    """

    # the class token of a frame is handed on beside the features of its cells
    encodes_tubes_apart = False
    consumed = (
        "pixel_values",
        "pixel_values_images",
        "vision_feature_layer",
        "vision_feature_select_strategy",
    )

    def __init__(self, inner: Any, family: Family, scaling: Scaling) -> None:
        super().__init__(inner, family, scaling)
        kind = inner.config.vision_config.model_type
        if kind != "clip_vision_model":
            raise UnsupportedModelError(
                f"{family.model_class} with a {kind} tower is not supported; supported is clip_vision_model."
            )

    def encode(
        self, pixels: Tensor, call: dict[str, Any], cells: CellPlan, *, anchored: bool, backend: Backend
    ) -> Encoded:
        """Features of the kept cells in token order; `output` holds the class token of every frame, [F, D]."""
        assert not anchored, "refused at attach"
        if pixels.ndim > 2:
            layers = {"vision_feature_layer": call.get("vision_feature_layer")}
            stock = self.inner.get_video_features(pixels, return_dict=True, **layers).pooler_output
            return Encoded([stock[:, 1:].flatten(0, 1)], stock[:, 0])
        needed = self._frames(cells.keep).flatten(1)  # [F, n*n]
        place, lengths = needed.nonzero(as_tuple=True)[1], needed.sum(1).tolist()
        rows, lengths = embed_patches(self.tower, pixels, place, lengths)
        states = self.inner.multi_modal_projector(
            encode_rows(self.tower, rows, lengths, layers_of(self.inner, call))
        )
        is_class = class_rows(lengths).to(states.device)
        shown = _shown_before(needed.any(1), [shape[0] for shape in cells.shapes])
        return Encoded([states[~is_class]], states[is_class][shown.to(states.device)])

    def media(self, encoded: Encoded, tokens: VideoTokens, call: dict[str, Any]) -> dict[str, Any]:
        """The tokens of each video, those of a frame after its class token, and the features of images."""
        lengths = tokens_per_tube(tokens)
        classes = encoded.output[(lengths > 0).to(encoded.output.device)].to(tokens.features)
        rows, longer = with_class_tokens(tokens.features, lengths.tolist(), classes)
        starts = first_tubes(tokens)
        counts = [sum(longer[start:end]) for start, end in zip(starts, starts[1:], strict=False)]
        videos = MediaFeatures(pooler_output=list(rows.split(counts)))
        # what 5.24 calls pixel_values was pixel_values_images before
        pictures = next((call[name] for name in self.consumed[:2] if call.get(name) is not None), None)
        given = {name: call.get(name) for name in self.consumed[2:]}
        return {"video": videos} | picture_media(self.inner, pictures, given)


def _shown_before(encoded: Tensor, frames: Sequence[int]) -> Tensor:
    """For each frame the latest one of its video with rows, the first of them for frames before it.

    bool [F] of all videos, and the frames of each -> int64 [F], counted among frames that have rows.
    """
    rank = encoded.long().cumsum(0) - 1
    found = []
    for part, ranks in zip(encoded.split(list(frames)), rank.split(list(frames)), strict=True):
        latest = anchor_tubes(part[:, None, None]).flatten()
        found.append(ranks[latest.where(latest >= 0, part.long().argmax())])
    return torch.cat(found)


FAMILY = Family(
    model_type="video_llava",
    model_class="VideoLlavaForConditionalGeneration",
    tower="grid",
    bind=VideoLlavaTower,
    recipe=ProcessorRecipe(
        processor="VideoLlavaProcessor",
        image_processor=("video_llava.image_processing_video_llava", "VideoLlavaImageProcessor"),
        arguments=(
            "patch_size",
            "num_additional_image_tokens",
            "vision_feature_select_strategy",
            "image_token",
            "video_token",
        ),
        built=_built,
        video_values=cropped_video("VideoLlavaVideoProcessor", 224),
        model_values=SQUARE_FRAMES,
        cell_patches=1,
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
    extra=ExtraPlaceholders(before_tube=1),
    tower_modules=("video_tower",),
    merger_modules=("multi_modal_projector",),
    learned_positions=True,
    contexts=("kept",),
    notes="Frames are cropped as in llava_next_video; a class token stays with its frame's patches, uncounted.",
)
