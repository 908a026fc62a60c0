"""Gemma 4: frames of native resolution as rows of a batch, nine patches averaged to a cell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from framegate.errors import ConfigError, FrameError, PlaceholderError
from framegate.models.families._shared import STOCK_VALUES, UNBOUNDED, even_sample_rule, tiny_text
from framegate.models.family import Family, ProcessorRecipe, TinyRecipe, Values, VideoSettings
from framegate.models.towers.framewise import FramewiseTower
from framegate.models.towers.offloaded import loaded
from framegate.models.towers.reordered import by_cells, by_rows, channels_first, channels_last
from framegate.tokenizers.plan_config import PlanConfig

# patches along the side of a cell
_MERGE = 3

_VIDEO: Values = STOCK_VALUES | {
    "video_processor_type": "Gemma4VideoProcessor",
    # the tower scales pixels itself
    "image_mean": [0.0, 0.0, 0.0],
    "image_std": [1.0, 1.0, 1.0],
    "patch_size": 16,
    "max_soft_tokens": 70,
    "pooling_kernel_size": _MERGE,
    "do_sample_frames": True,
    "num_frames": 32,
    "fps": None,
}


def _built(values: Mapping[str, Any]) -> tuple[Values, Values]:
    from transformers import Gemma4AudioFeatureExtractor

    return {"patch_size": values["patch_size"]}, {"feature_extractor": Gemma4AudioFeatureExtractor()}


def _bounds(values: Mapping[str, Any]) -> tuple[int, int]:
    """One cell, and so many as a frame may have."""
    if values["pooling_kernel_size"] != _MERGE:
        raise ConfigError(f"pooling_kernel_size is {values['pooling_kernel_size']!r}; served is {_MERGE}.")
    cell = (values["patch_size"] * _MERGE) ** 2
    return cell, cell * int(values["max_soft_tokens"])


def size_rule(num_frames: int, height: int, width: int, settings: VideoSettings) -> tuple[int, int]:
    """Every frame as large as its cells allow, whatever its own size; FrameError where there is no such size."""
    from transformers.models.gemma4.image_processing_pil_gemma4 import get_aspect_ratio_preserving_size

    layout = settings.layout
    if not settings.do_resize:
        if height % layout.cell_px or width % layout.cell_px or height * width > settings.max_pixels:
            raise FrameError(
                f"Frames of {height} x {width} px with do_resize=False; this tower takes sides of a multiple of "
                f"{layout.cell_px} px, {settings.max_pixels:,} pixels at most."
            )
        return height, width
    try:
        size: tuple[int, int] = get_aspect_ratio_preserving_size(
            height, width, layout.patch_size_px, settings.max_pixels // layout.patch_size_px**2, _MERGE
        )
    except ValueError as error:
        raise FrameError(f"Frames of {height} x {width} px: {error}") from error
    return size


def _finish(data: dict[str, Tensor], values: Mapping[str, Any], config: PlanConfig) -> dict[str, Tensor]:
    """Name sizes and places as the stock processor does; whole videos go as it lays them out."""
    grids, rows = data["video_grid_thw"], data["pixel_values_videos"]
    rest = {name: value for name, value in data.items() if name != "video_grid_thw"}
    length = int(values["max_soft_tokens"]) * _MERGE**2
    rest["video_position_ids"] = torch.cat([_places(t, h, w, length) for t, h, w in grids.tolist()])
    rest["num_frames_per_video"] = grids[:, 0].clone()
    rest["num_soft_tokens_per_video"] = grids[:, 1:].prod(1) // _MERGE**2
    whole = len(rows) == int(grids.prod(1).sum())
    return rest | {"pixel_values_videos": _stock(rows, grids, length) if whole else rows}


def _places(frames: int, height: int, width: int, length: int) -> Tensor:
    """Column and row of each patch of a video, row by row, filled up by -1: int64 [F, length, 2]."""
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    of_frame = torch.stack([column, row], -1).flatten(0, 1)
    return F.pad(of_frame, (0, 0, 0, length - len(of_frame)), value=-1).repeat(frames, 1, 1)


def _stock(rows: Tensor, grid_thw: Tensor, length: int) -> Tensor:
    """Rows of whole videos, cell by cell, as frames of patches filled up by zeros: [F, length, p * p * C]."""
    ordered = channels_last(by_rows(rows, grid_thw, _MERGE))
    videos = ordered.split(grid_thw.prod(1).tolist())
    framed = [
        video.unflatten(0, (frames, -1))
        for video, (frames, *_) in zip(videos, grid_thw.tolist(), strict=True)
    ]
    return torch.cat([F.pad(frames, (0, 0, 0, length - frames.shape[1])) for frames in framed])


class Gemma4Tower(FramewiseTower):
    """Gemma 4's vision transformer, of one model."""

    # in large models placeholders of one frame see one another both ways
    columns = ("mm_token_type_ids",)
    consumed = (
        "pixel_values",
        "image_position_ids",
        "video_position_ids",
        "num_frames_per_video",
        "video_grid_thw",
    )
    tube_frames = 1
    merge_size = _MERGE

    def grids(self, call: dict[str, Any]) -> Tensor:
        """Frames, rows and columns of patches of each video, by its places."""
        places, frames = call.get("video_position_ids"), call.get("num_frames_per_video")
        if places is None or frames is None or int(frames.sum()) != len(places):
            raise PlaceholderError(
                "pixel_values_videos came without video_position_ids and num_frames_per_video that fit one another; "
                "pass all of one processor call."
            )
        first = frames.cumsum(0) - frames
        sides = places[first].amax(1).flip(-1) + 1  # [V, (rows, columns)]
        return torch.cat([frames[:, None], sides], 1)

    def rows(self, call: dict[str, Any], grid_thw: Tensor) -> Tensor:
        """Patches of stock frames [F, n, p * p * C] without what fills them up, cell by cell."""
        shown = (call["video_position_ids"] >= 0).all(-1)
        return channels_first(by_cells(call["pixel_values_videos"][shown], grid_thw, _MERGE))

    def stock(self, rows: Tensor, call: dict[str, Any], grid_thw: Tensor) -> Tensor:
        """Frames of patches, as the stock processor lays them out."""
        return _stock(rows, grid_thw, call["video_position_ids"].shape[1])

    def frames(self, patches: Tensor, places: Tensor) -> Tensor:
        """The tower's own parts: its places where patches lie, its pooling over cells side by side."""
        tower, where = self.tower, places.flip(-1)
        nowhere = torch.zeros(where.shape[:2], dtype=torch.bool, device=where.device)
        with loaded(tower.patch_embedder):
            rows = tower.patch_embedder(channels_last(patches), where, nowhere)
        states = tower.encoder(
            inputs_embeds=rows, attention_mask=~nowhere, pixel_position_ids=where
        ).last_hidden_state
        number = torch.arange(patches.shape[1], device=where.device)
        cell, inside = number // _MERGE**2, number % _MERGE**2
        strip = torch.stack([cell * _MERGE + inside % _MERGE, inside // _MERGE], -1)
        pooled, _ = tower.pooler(states, strip.expand_as(where), nowhere, len(number) // _MERGE**2)
        if tower.config.standardize:
            with loaded(tower):
                pooled = (pooled - tower.std_bias.float().to(pooled.device)) * tower.std_scale.float().to(
                    pooled.device
                )
        projected: Tensor = self.inner.embed_vision(inputs_embeds=pooled.to(rows.dtype))
        return projected

    def pictures(self, call: dict[str, Any]) -> Any:
        """Features of a call's pictures, by the model's own path."""
        return self.inner.get_image_features(
            call["pixel_values"], call.get("image_position_ids"), return_dict=True
        )


_TOKENS = {
    "image_token": "<|image|>",
    "boi_token": "<|image>",
    "eoi_token": "<image|>",
    "audio_token": "<|audio|>",
    "boa_token": "<|audio>",
    "eoa_token": "<audio|>",
}


def _tiny_config(tokenizer: Any, vision: Values, text: Values) -> Any:
    from transformers import Gemma4Config

    tower: Values = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "position_embedding_size": 64,
    }
    own: Values = {
        "head_dim": 16,
        "global_head_dim": 16,
        "hidden_size_per_layer_input": 8,
        "vocab_size_per_layer_input": len(tokenizer),
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
        "sliding_window": 4096,
        "use_bidirectional_attention": "vision",
        "rope_parameters": None,
    }
    names = {"eoa_token_index": "eoa_token"} | {f"{name}_id": name for name in _TOKENS if name != "eoa_token"}
    return Gemma4Config(
        text_config=tiny_text(tokenizer, own | text),
        vision_config=tower | vision,
        audio_config=None,
        video_token_id=tokenizer.convert_tokens_to_ids("<|video|>"),
        **{name: tokenizer.convert_tokens_to_ids(_TOKENS[token]) for name, token in names.items()},
    )


FAMILY = Family(
    model_type="gemma4",
    model_class="Gemma4ForConditionalGeneration",
    tower="framewise",
    bind=Gemma4Tower,
    recipe=ProcessorRecipe(
        processor="Gemma4Processor",
        image_processor=("gemma4.image_processing_pil_gemma4", "Gemma4ImageProcessorPil"),
        arguments=("image_seq_length", "audio_seq_length", "audio_ms_per_token"),
        built=_built,
        video_values=_VIDEO,
        model_values=UNBOUNDED | {"temporal_patch_size": 1, "merge_size": _MERGE},
        size_rule=size_rule,
        bounds=_bounds,
        sizes_key="num_soft_tokens_per_video",
        sample_rule=even_sample_rule,
        finish=_finish,
        feature_extractor="Gemma4AudioFeatureExtractor",
    ),
    tiny=TinyRecipe(
        config=_tiny_config,
        tokens=(*_TOKENS.values(), "<|video|>"),
        video_mark="<|video|>",
        image_mark="<|image|>",
        token_names=_TOKENS,
    ),
    lowest_transformers="5.24",
    positions="1-D RoPE",
    timestamps="minutes and seconds before every frame, native",
    writes_times=True,
    reads_times=True,
    tower_modules=("vision_tower",),
    merger_modules=("embed_vision",),
    learned_positions=True,
    contexts=("kept",),
    notes="Kept placeholders of a frame see one another both ways where the stock model's do; sliding windows of the "
    "language model hold kept tokens alone, and so reach further back.",
)
