"""ERNIE 4.5 VL: a packed tower of single frames, a resampler that makes a cell of two, experts by kind of token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from framegate.errors import FrameError, PlaceholderError
from framegate.models.cell_plan import CellPlan
from framegate.models.families._shared import (
    CLIP_MEAN,
    CLIP_STD,
    STOCK_VALUES,
    TINY_SIZE,
    UNCAPPED,
    built_for_patches,
    frame_rule,
    tiny_text,
)
from framegate.models.family import Family, ProcessorRecipe, TinyRecipe, Values, VideoSettings
from framegate.models.towers.packed import PackedTower
from framegate.models.towers.packed_anchored import AnchorRows
from framegate.models.towers.patches import CHANNELS
from framegate.models.transformers_private import SEGMENTS_KEY
from framegate.tokenizers.plan_config import PlanConfig
from framegate.types import Int64Array

# its resampler knows no other number
_FRAMES = 2
_VIDEOS, _GRIDS, _KINDS = "pixel_values_videos", "video_grid_thw", "moe_mm_token_type_ids"
_VIDEO: Values = STOCK_VALUES | {
    "video_processor_type": "Ernie4_5_VLMoeVideoProcessor",
    "size": {"shortest_edge": 299 * 28 * 28, "longest_edge": 1196 * 28 * 28},
    "image_mean": list(CLIP_MEAN),
    "image_std": list(CLIP_STD),
    "patch_size": 14,
    "temporal_patch_size": _FRAMES,
    "merge_size": 2,
    "min_frames": 16,
    "max_frames": 180,
    "do_sample_frames": True,
    "fps": None,
    # the class draws by default, in a font that comes with a checkpoint
    "draw_on_frames": False,
    "font": "Roboto-Regular.ttf",
}
_NOT_DRAWN = (
    "times drawn onto frames are not drawn here. Set processor.video_processor.draw_on_frames = False before attach, "
    "or draw_on_frames to false in its files, and stamps in the prompt tell the times; or attach the model alone, "
    "which sees the frames as they were drawn on"
)
_NAMES = {
    f"{kind}_{place}token": f"<|{kind.upper()}_{mark}|>"
    for kind in ("image", "video")
    for place, mark in (("", "PLACEHOLDER"), ("start_", "START"), ("end_", "END"))
}


def sample_rule(num_frames: int, video_fps: float | None, settings: VideoSettings) -> Int64Array:
    """Choose frames as Ernie4_5_VLMoeVideoProcessor.sample_frames does."""
    wanted: float = num_frames
    if settings.num_frames is not None:
        wanted = settings.num_frames
    elif settings.fps is not None:
        if video_fps is None:
            raise FrameError(
                f"Sampling at fps={settings.fps} needs the frames' own rate; pass video_metadata with fps."
            )
        wanted = num_frames / video_fps * settings.fps
    if settings.num_frames is None:
        wanted = min(max(wanted, settings.min_frames), settings.max_frames, num_frames)
    if wanted > num_frames:
        raise FrameError(f"num_frames={wanted} is more than the {num_frames} frames at hand; ask for fewer.")
    found: Int64Array = torch.arange(0, num_frames, num_frames / wanted).long().numpy()
    return found


def _told(found: Mapping[str, Any]) -> Values:
    """Settings of a file, which names a class; one that says nothing of drawing draws."""
    is_file = not found.keys().isdisjoint(("video_processor_type", "image_processor_type", "processor_class"))
    return ({"draw_on_frames": True} if is_file else {}) | dict(found)


def _as_tubes(rows: Tensor, frame_grids: Tensor) -> Tensor:
    """Rows of frames, [T * h * w, C * p * p] -> rows of tubes, [T / 2 * h * w, C * 2 * p * p]."""
    parts = []
    for part, (frames, height, width) in zip(
        rows.split(frame_grids.prod(1).tolist()), frame_grids.tolist(), strict=True
    ):
        by_tube = part.view(frames // _FRAMES, _FRAMES, height * width, CHANNELS, -1)
        parts.append(by_tube.permute(0, 2, 3, 1, 4).flatten(2).flatten(0, 1))
    return torch.cat(parts)


def _as_frames(rows: Tensor, tube_grids: Tensor) -> Tensor:
    """The way back."""
    parts = []
    for part, (tubes, height, width) in zip(
        rows.split(tube_grids.prod(1).tolist()), tube_grids.tolist(), strict=True
    ):
        by_frame = part.view(tubes, height * width, CHANNELS, _FRAMES, -1)
        parts.append(by_frame.permute(0, 3, 1, 2, 4).flatten(3).flatten(0, 2))
    return torch.cat(parts)


def _in_frames(tube_grids: Tensor) -> Tensor:
    return tube_grids * tube_grids.new_tensor([_FRAMES, 1, 1])


def _finish(data: dict[str, Tensor], values: Mapping[str, Any], config: PlanConfig) -> dict[str, Tensor]:
    """Grids count frames; rows of whole videos are those of frames, rows of kept cells stay those of tubes."""
    rows, grids = data[_VIDEOS], data[_GRIDS]
    if len(rows) == int(grids.prod(1).sum()):
        rows = _as_frames(rows, grids)
    return data | {_VIDEOS: rows, _GRIDS: _in_frames(grids)}


class ErnieTower(PackedTower):
    """ERNIE 4.5 VL's tower and resampler, of one model; between `opened` and `closed` two frames are a tube."""

    consumed = ("pixel_values", "image_grid_thw", _GRIDS, "mm_token_type_ids", _KINDS)
    tube_frames = _FRAMES

    def run(self, rows: Tensor, grid_thw: Tensor, cells: CellPlan, kwargs: dict[str, Any]) -> Any:
        """Call the tower on the first frames of all tubes, then the second, and the resampler on both as one strip."""
        frames = rows.unflatten(1, (CHANNELS, _FRAMES, -1)).permute(2, 0, 1, 3).flatten(2).flatten(0, 1)
        out = self.tower(frames, grid_thw=grid_thw, return_dict=True, **_twice(kwargs, len(rows)))
        merge = self.merge_size
        strip = grid_thw.new_tensor([[_FRAMES, merge, len(rows) // merge]])
        out.pooler_output = self.inner.resampler_model(out.last_hidden_state, strip)
        return out

    def opened(self, call: dict[str, Any]) -> dict[str, Any]:
        """The call with rows and grids of tubes.

        Raises:
            PlaceholderError: grids of an odd number of frames.
        """
        rows, grids = call.get(_VIDEOS), call.get(_GRIDS)
        if rows is None or grids is None:
            return call
        if bool((grids[:, 0] % _FRAMES).any()):
            raise PlaceholderError(
                f"{_GRIDS} is {grids.tolist()}; {self.family.model_class} makes one token of two frames."
            )
        if rows.shape[-1] != self.layout.patch_dim:
            rows = _as_tubes(rows, grids)
        return call | {_VIDEOS: rows, _GRIDS: grids // grids.new_tensor([_FRAMES, 1, 1])}

    def closed(self, call: dict[str, Any]) -> dict[str, Any]:
        """The call as the stock model takes it."""
        return call | {_VIDEOS: _as_frames(call[_VIDEOS], call[_GRIDS]), _GRIDS: _in_frames(call[_GRIDS])}

    def positions(self, call: dict[str, Any], attention_mask: Tensor) -> Tensor:
        """Positions of the caller's prompt on the three vision axes, which the model counts from grids of frames."""
        if call.get(_VIDEOS) is not None and not self.is_stamped(call):
            call = call | {_GRIDS: _in_frames(call[_GRIDS])}
        return super().positions(call, attention_mask)

    def read_along(self, caller: Mapping[str, Any], ids: Tensor) -> dict[str, Tensor]:
        """Which tokens the experts of pictures and videos take: placeholders and their marks."""
        if caller.get(_KINDS) is None:
            return {}
        config, kinds = self.inner.config, torch.zeros_like(ids)
        for kind, name in enumerate(("image", "video"), start=1):
            for part in ("start_", "", "end_"):
                kinds[ids == getattr(config, f"{name}_{part}token_id")] = kind
        return {_KINDS: kinds}


def _twice(kwargs: dict[str, Any], num_rows: int) -> dict[str, Any]:
    """What is told of a tube's rows, of the rows of both its frames."""
    told = dict(kwargs)
    told["position_ids"] = torch.cat([kwargs["position_ids"]] * _FRAMES)
    told[SEGMENTS_KEY] = _joined(kwargs[SEGMENTS_KEY])
    anchors: AnchorRows | None = kwargs.get("framegate_anchors")
    if anchors is not None:
        turns = (None if part is None else torch.cat([part] * _FRAMES) for part in (anchors.cos, anchors.sin))
        rows = torch.cat([anchors.rows, anchors.rows + num_rows])
        told["framegate_anchors"] = AnchorRows(rows, _joined(anchors.cu_tubes), None, *turns)
    return told


def _joined(boundaries: Tensor) -> Tensor:
    """Boundaries of a sequence of rows, int [S + 1] -> of two of them, one behind the other."""
    return torch.cat([boundaries, boundaries[1:] + boundaries[-1]])


def _tiny_config(tokenizer: Any, vision: Values, text: Values) -> Any:
    from transformers import Ernie4_5_VLMoeConfig

    tower = {"depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 64}
    experts = {
        "moe_num_experts": 4,
        "moe_k": 2,
        "moe_num_shared_experts": 1,
        "moe_intermediate_size": [32, 16],
    }
    return Ernie4_5_VLMoeConfig(
        text_config=tiny_text(tokenizer, experts | text, rope={"mrope_section": [3, 3, 2]}),
        vision_config=tower | vision,
        **{f"{name}_id": tokenizer.convert_tokens_to_ids(token) for name, token in _NAMES.items()},
    )


FAMILY = Family(
    model_type="ernie4_5_vl_moe",
    model_class="Ernie4_5_VLMoeForConditionalGeneration",
    bind=ErnieTower,
    recipe=ProcessorRecipe(
        processor="Ernie4_5_VLMoeProcessor",
        image_processor=(
            "ernie4_5_vl_moe.image_processing_pil_ernie4_5_vl_moe",
            "Ernie4_5_VLMoeImageProcessorPil",
        ),
        built=built_for_patches,
        video_values=_VIDEO,
        model_values=UNCAPPED,
        size_rule=frame_rule,
        sample_rule=sample_rule,
        finish=_finish,
        told=_told,
        not_followed={"draw_on_frames": _NOT_DRAWN},
    ),
    tiny=TinyRecipe(
        config=_tiny_config,
        tokens=tuple(_NAMES.values()),
        video_mark="<|VIDEO_START|><|VIDEO_PLACEHOLDER|><|VIDEO_END|>",
        image_mark="<|IMAGE_START|><|IMAGE_PLACEHOLDER|><|IMAGE_END|>",
        size=TINY_SIZE,
        token_names=_NAMES,
    ),
    timestamps="stamps after every tube (framegate)",
    tower_modules=("vision_tower",),
    merger_modules=("resampler_model",),
    notes="Two frames make a cell, and are encoded for it; a processor that draws times onto frames is refused until "
    "it is told not to.",
)
