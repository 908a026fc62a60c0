"""What MiniCPM-V's releases share: a packed tower that merges windows between two blocks, and frames with own marks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from framegate.errors import AttachmentError, ConfigError, FrameError, PlaceholderError, UnsupportedModelError
from framegate.models.cell_plan import CellPlan
from framegate.models.families._shared import HALF, STOCK_VALUES, UNBOUNDED, qwen_token_ids, tiny_text
from framegate.models.family import Family, ProcessorRecipe, TinyRecipe, Values, VideoSettings
from framegate.models.mechanism import Encoded
from framegate.models.towers.patches import CHANNELS, Scaling
from framegate.models.towers.reordered import ReorderedTower, by_cells, by_rows
from framegate.models.transformers_private import nearest_places
from framegate.tokenizers.gate.packing import NOTES_KEY, noted_shapes
from framegate.tokenizers.plan_config import PlanConfig
from framegate.types import Int64Array

_PATCH_PX = 14
# patches along the side of a cell: windows of two are merged within the tower, and two of those behind it
_MERGE = 4
_MODE = "16x"

_VIDEO: Values = {name: value for name, value in STOCK_VALUES.items() if name != "num_frames"} | {
    "video_processor_type": "MiniCPMV4_6VideoProcessor",
    "image_mean": list(HALF),
    "image_std": list(HALF),
    "patch_size": _PATCH_PX,
    "scale_resolution": 448,
    "slice_mode": True,
    "max_slice_nums": 9,
    "downsample_mode": _MODE,
    "use_image_id": True,
    "do_sample_frames": True,
    "max_num_frames": 128,
    "stack_frames": 1,
}


def _built(values: Mapping[str, Any]) -> tuple[Values, Values]:
    names = ("patch_size", "scale_resolution", "downsample_mode")
    return {name: values[name] for name in names}, {}


def _bounds(values: Mapping[str, Any]) -> tuple[int, int]:
    """One cell, and the square that frames are as large as."""
    if values["downsample_mode"] != _MODE or values["stack_frames"] > 1:
        raise ConfigError(
            f"downsample_mode is {values['downsample_mode']!r} and stack_frames {values['stack_frames']}; served are "
            f"{_MODE!r} and 1."
        )
    return (values["patch_size"] * _MERGE) ** 2, values["scale_resolution"] ** 2


def size_rule(num_frames: int, height: int, width: int, settings: VideoSettings) -> tuple[int, int]:
    """Every frame as large as one square, in whole cells; FrameError for frames that would be cut into slices.

    Source: find_best_resize of transformers' MiniCPMV4_6VideoProcessor, which does not read do_resize.
    """
    cell, most = settings.layout.cell_px, settings.max_pixels
    slices = settings.stock["max_slice_nums"] if settings.stock["slice_mode"] else 1
    if slices > 1 and height * width > most:
        side = math.isqrt(most)
        raise FrameError(
            f"Frames of {height} x {width} px are cut into slices by MiniCPM-V, which a front end cannot follow. Set "
            f"processor.video_processor.slice_mode = False, by which each is one picture of about {side} x {side} px."
        )
    aspect = width / height
    rows = int(math.sqrt(most) / math.sqrt(aspect))
    columns = int(rows * aspect)
    return max(round(rows / cell) * cell, cell), max(round(columns / cell) * cell, cell)


def sample_rule(num_frames: int, video_fps: float | None, settings: VideoSettings) -> Int64Array:
    """Choose frames as MiniCPMV4_6VideoProcessor.sample_frames does: one a second, of long videos evenly spread."""
    if video_fps is None:
        raise FrameError(
            "MiniCPM-V samples by time; pass video_metadata with fps, or do_sample_frames=False."
        )
    seconds, most = num_frames / video_fps, int(settings.stock["max_num_frames"])
    if seconds <= most:
        times = np.arange(math.ceil(seconds), dtype=np.float64)
    else:
        tenths = np.round(np.arange(int(seconds / 0.1)) * 0.1, 1)
        times = tenths[np.linspace(0, len(tenths) - 1, min(most, len(tenths)), dtype=int)]
    return np.minimum((times * video_fps).astype(np.int64), num_frames - 1)


def _finish(data: dict[str, Tensor], values: Mapping[str, Any], config: PlanConfig) -> dict[str, Tensor]:
    """Name sizes as the stock processor does; whole videos go as it lays them out."""
    grids, rows = data["video_grid_thw"], data["pixel_values_videos"]
    rest = {name: value for name, value in data.items() if name != "video_grid_thw"}
    sizes = torch.repeat_interleave(grids[:, 1:], grids[:, 0], dim=0).int()
    rest["target_sizes_videos"], rest["grids_videos"] = sizes, torch.zeros_like(sizes)
    rest["num_patches_per_frame"], rest["num_frames_per_video"] = (
        torch.ones_like(sizes[:, 0]),
        grids[:, 0].clone(),
    )
    whole = len(rows) == int(grids.prod(1).sum())
    return rest | {"pixel_values_videos": _stock(by_rows(rows, grids, _MERGE)) if whole else rows}


def _stock(rows: Tensor) -> Tensor:
    """Patches [N, C * p * p] side by side: [1, C, p, N * p]."""
    return rearrange(rows, "n (c p q) -> 1 c p (n q)", c=CHANNELS, p=math.isqrt(rows.shape[1] // CHANNELS))


class MiniCPMTower(ReorderedTower):
    """MiniCPM-V's tower and its two merges, of one model.

    Raises:
        UnsupportedModelError: cells of another size.
    """

    consumed = (
        "pixel_values",
        "target_sizes",
        "target_sizes_videos",
        "video_grid_thw",
        "downsample_mode",
        "mm_token_type_ids",
    )
    tube_frames = 1
    merge_size = _MERGE

    def __init__(self, inner: Any, family: Family, scaling: Scaling) -> None:
        super().__init__(inner, family, scaling)
        config = inner.config
        merges = (
            tuple(config.vision_config.window_kernel_size),
            tuple(config.merge_kernel_size),
            config.merger_times,
        )
        if merges != ((2, 2), (2, 2), 1) or config.downsample_mode != _MODE or config.insert_layer_id < 0:
            raise UnsupportedModelError(
                f"{family.model_class} with downsample_mode {config.downsample_mode!r}, insert_layer_id "
                f"{config.insert_layer_id} and merges {merges} is not supported; supported are {_MODE!r}, a block of "
                "the tower, and 2 x 2 twice."
            )

    def grids(self, call: dict[str, Any]) -> Tensor:
        """Frames, rows and columns of patches of each video: as noted by an attached processor, or by the prompt."""
        sizes, notes = call.get("target_sizes_videos"), call.get(NOTES_KEY)
        if notes is not None:
            return torch.tensor([(t, h * _MERGE, w * _MERGE) for t, h, w in noted_shapes(notes)])
        if sizes is None:
            raise PlaceholderError(
                "pixel_values_videos came without target_sizes_videos; pass both, of one processor call."
            )
        frames = sizes.tolist()
        videos: list[list[int]] = []
        for frame, is_first in zip(frames, self._is_first(call, frames), strict=True):
            if is_first:
                videos.append([0, *frame])
            videos[-1][0] += 1
        return torch.tensor(videos)

    def _is_first(self, call: dict[str, Any], frames: list[list[int]]) -> list[bool]:
        """Which frames begin a video: those of one stand side by side in a row, with their marks alone between."""
        ids = call.get("input_ids")
        if ids is None:
            return [True] * len(frames)
        shown = (ids == self.inner.config.video_token_id).cpu()
        starts, ends = shown.clone(), shown.clone()
        starts[:, 1:] &= ~shown[:, :-1]
        ends[:, :-1] &= ~shown[:, 1:]
        first, last = starts.nonzero(), ends.nonzero()  # [F, (row, column)]
        opened = {int(ids[row, column - 1]) for row, column in first.tolist() if column}
        if len(first) != len(frames) or len(opened) > 1:
            raise PlaceholderError(
                f"target_sizes_videos has {len(frames)} pictures, and the prompts {len(first)} runs of placeholders, "
                f"opened by {len(opened)} kinds of marks. Frames in slices are not served: set "
                "processor.video_processor.slice_mode = False. A prompt must not be truncated either."
            )
        beside = (first[1:, 0] == last[:-1, 0]) & (first[1:, 1] - last[:-1, 1] == 3)
        alike = [one == other for one, other in zip(frames[1:], frames[:-1], strict=True)]
        return [True, *(not (near and same) for near, same in zip(beside.tolist(), alike, strict=True))]

    def rows(self, call: dict[str, Any], grid_thw: Tensor) -> Tensor:
        """Patches of stock pixels [1, C, p, N * p], cell by cell."""
        patches = rearrange(
            call["pixel_values_videos"], "1 c p (n q) -> n (c p q)", q=self.layout.patch_size_px
        )
        return by_cells(patches, grid_thw, _MERGE)

    def stock(self, rows: Tensor, call: dict[str, Any], grid_thw: Tensor) -> Tensor:
        """Patches side by side, row by row, as the stock processor lays them out."""
        return _stock(by_rows(rows, grid_thw, _MERGE))

    def encode(self, pixels: Tensor, call: dict[str, Any], cells: CellPlan, **how: Any) -> Encoded:
        """Features of the kept cells in token order."""
        if call.get("downsample_mode") not in (None, _MODE):
            raise AttachmentError(
                f"downsample_mode is {call['downsample_mode']!r}; on a compressed video of {self.family.model_class} "
                f"it can be {_MODE!r} alone. keep_ratio=1.0 takes what the stock model takes."
            )
        return super().encode(pixels, call, cells, **how)

    def run(self, rows: Tensor, grid_thw: Tensor, cells: CellPlan, kwargs: dict[str, Any]) -> Any:
        """Call the tower with the cells of each frame side by side, as one strip, each patch at its own place."""
        lengths = [length for length in cells.kept_per_tube if length]
        strips = torch.tensor([(1, _MERGE, _MERGE * length) for length in lengths])
        sizes = torch.repeat_interleave(grid_thw[:, 1:], grid_thw[:, 0], dim=0).cpu()
        side = self.tower.embeddings.num_patches_per_side
        places = by_cells(nearest_places(sizes, side), grid_thw.cpu(), _MERGE)
        places = places[cells.keep.repeat_interleave(_MERGE**2)]
        strip_sizes = strips[:, 1:].to(rows.device)
        out = self.tower(
            _stock(by_rows(rows, strips, _MERGE)),
            target_sizes=strip_sizes,
            position_ids=by_rows(places, strips, _MERGE).to(rows.device),
            return_dict=True,
        )
        out.pooler_output = torch.cat(self.inner.merger(out.last_hidden_state, strip_sizes // 2))
        return out

    def pictures(self, call: dict[str, Any]) -> Any:
        """Features of a call's pictures, by the model's own path."""
        return self.inner.get_image_features(call["pixel_values"][:1], call["target_sizes"], return_dict=True)


_MARKS = {
    "image_start_token": "<image>",
    "image_end_token": "</image>",
    "slice_start_token": "<slice>",
    "slice_end_token": "</slice>",
    "image_id_start_token": "<image_id>",
    "image_id_end_token": "</image_id>",
}


def tiny_minicpm(
    config: str, tokenizer: Any, *, vision: Values, text: Values, rope: Values, more: Values | None = None
) -> Any:
    """The configuration of a tiny MiniCPM-V, by the name of its class: settings that replace the tiny ones."""
    import transformers

    tower: Values = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": 112,
        "patch_size": _PATCH_PX,
    }
    heads: Values = {"head_dim": 32, "layer_types": ["full_attention"] * 3, "model_type": "qwen3_5_text"}
    ids = qwen_token_ids(tokenizer)
    return getattr(transformers, config)(
        text_config=tiny_text(tokenizer, heads | text, rope=rope),
        vision_config=tower | vision,
        insert_layer_id=1,
        image_token_id=ids["image_token_id"],
        video_token_id=ids["video_token_id"],
        **(more or {}),
    )


def minicpm_tiny(config: Any) -> TinyRecipe:
    """How the tiny model of a release is made, by what makes its configuration."""
    return TinyRecipe(
        config=config,
        tokens=tuple(_MARKS.values()),
        video_mark="<|video_pad|>",
        image_mark="<|image_pad|>",
        token_names=_MARKS | {"image_token": "<|image_pad|>", "video_token": "<|video_pad|>"},
    )


def mark_ids(tokenizer: Any) -> dict[str, int]:
    """The ids of marks that a configuration holds."""
    names = ("image_start", "image_end", "slice_start", "slice_end")
    ids = {f"{name}_id": tokenizer.convert_tokens_to_ids(_MARKS[f"{name}_token"]) for name in names}
    return ids | {"newline_id": tokenizer.encode("\n")[0]}


def minicpm_recipe(processor: str) -> ProcessorRecipe:
    """The processor of a release, by the name of its class."""
    return ProcessorRecipe(
        processor=processor,
        image_processor=("minicpmv4_6.image_processing_pil_minicpmv4_6", "MiniCPMV4_6ImageProcessorPil"),
        built=_built,
        video_values=_VIDEO,
        model_values=UNBOUNDED
        | {"temporal_patch_size": 1, "merge_size": _MERGE, "num_frames": None, "fps": None},
        size_rule=size_rule,
        bounds=_bounds,
        sizes_key="target_sizes_videos",
        sample_rule=sample_rule,
        finish=_finish,
    )
