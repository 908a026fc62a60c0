"""What a family's video processor is set to: read from its files or its stock object, replaced per call."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from framegate.errors import AttachmentError, ConfigError, nearest
from framegate.models.grid_tower.geometry import POOLED_PATCHES, JudgedSize, judged_size
from framegate.models.video_processor.patches import PatchLayout

_CLIP_MEAN = [0.48145466, 0.4578275, 0.40821073]
_CLIP_STD = [0.26862954, 0.26130258, 0.27577711]
_SHARED: dict[str, Any] = {
    "do_convert_rgb": True,
    "do_resize": True,
    "do_rescale": True,
    "do_normalize": True,
    "rescale_factor": 1 / 255,
    "resample": 3,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "min_frames": 4,
    "max_frames": 768,
    "num_frames": None,
    "cap_pixels_per_frame": None,
    "return_metadata": False,
}
_QWEN2: dict[str, Any] = _SHARED | {
    "video_processor_type": "Qwen2VLVideoProcessor",
    "patch_size": 14,
    "size": {"shortest_edge": 128 * 28 * 28, "longest_edge": 768 * 28 * 28},
    "image_mean": _CLIP_MEAN,
    "image_std": _CLIP_STD,
    "do_sample_frames": False,
    "fps": None,
    "max_video_tokens": 128000,
}
_QWEN3: dict[str, Any] = _SHARED | {
    "video_processor_type": "Qwen3VLVideoProcessor",
    "patch_size": 16,
    "size": {"shortest_edge": 128 * 32 * 32, "longest_edge": 768 * 32 * 32},
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "do_sample_frames": True,
    "fps": 2,
    "max_video_tokens": 768,
}
_LLAVA_ONEVISION: dict[str, Any] = {
    name: _SHARED[name]
    for name in (
        "do_convert_rgb",
        "do_resize",
        "do_rescale",
        "do_normalize",
        "rescale_factor",
        "resample",
        "num_frames",
        "return_metadata",
    )
} | {
    "video_processor_type": "LlavaOnevisionVideoProcessor",
    "size": {"height": 384, "width": 384},
    # SigLIP's, which every released checkpoint sets; the class's own are CLIP's
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "do_sample_frames": False,
    "fps": None,
}
STOCK_DEFAULTS: dict[str, dict[str, Any]] = {
    "qwen2_vl": _QWEN2,
    "qwen2_5_vl": _QWEN2,
    "qwen3_vl": _QWEN3,
    "llava_onevision": _LLAVA_ONEVISION,
}
# What LLaVA-OneVision's processor leaves to the model: SigLIP's patches, one frame a tube, each patch a row.
_OF_GRIDS: dict[str, Any] = {
    "patch_size": 14,
    "temporal_patch_size": 1,
    "merge_size": 1,
    "min_frames": 1,
    "max_frames": 1 << 31,
    "cap_pixels_per_frame": False,
    "max_video_tokens": 0,
}

_RESAMPLE = {2: "bilinear", 3: "bicubic"}


@dataclass(frozen=True, kw_only=True)
class VideoSettings:
    """The settings of one call, checked.

    Args:
        layout: how frames are cut into patches and scaled.
        min_pixels: least pixels of a frame (of a whole video where counts_time is set).
        max_pixels: most pixels, counted like min_pixels.
        counts_time: Qwen3-VL's size rule, which counts frames x height x width.
        cap_pixels_per_frame: bound each frame as well, by max_video_tokens.
        max_video_tokens: the bound's tokens: per video, or per frame where counts_time is set.
        do_resize: False takes frames at their own size.
        resample: "bicubic" or "bilinear".
        do_sample_frames: frames in memory are sampled, by the stock rule.
        fps: frames per second for that rule.
        num_frames: number of frames for that rule.
        min_frames: fewest frames for that rule.
        max_frames: most frames for that rule.
        judged: how the gate judges frames whose patches the tower pools to cells; None where cells are whole patches.
    """

    layout: PatchLayout
    min_pixels: int
    max_pixels: int
    counts_time: bool
    cap_pixels_per_frame: bool
    max_video_tokens: int
    do_resize: bool
    resample: str
    do_sample_frames: bool
    fps: float | None
    num_frames: int | None
    min_frames: int
    max_frames: int
    judged: JudgedSize | None = None

    @property
    def cell_layout(self) -> PatchLayout:
        """The size of cells and tubes as the gate judges them."""
        return self.layout if self.judged is None else replace(self.layout, merge_size=POOLED_PATCHES)

    def cells_of(self, size_px: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of cells of a frame at tower size."""
        if self.judged is not None:
            size_px = (self.judged.judged_px, self.judged.judged_px)
        return size_px[0] // self.cell_layout.cell_px, size_px[1] // self.cell_layout.cell_px


def stock_values(model_type: str, found: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Complete what a stock video processor or its file says by the family's defaults.

    Args:
        model_type: the family.
        found: `to_dict()` of a stock video processor, or the parsed file; other keys than a video
            processor's are left out.

    Returns:
        Every setting by its name in transformers, as plain values.

    Raises:
        AttachmentError: the family has no video processor here; the message names those that have.
    """
    if model_type not in STOCK_DEFAULTS:
        raise AttachmentError(f"No video processor for {model_type!r}. {nearest(model_type, STOCK_DEFAULTS)}")
    values = copy.deepcopy(STOCK_DEFAULTS[model_type])
    found = dict(found or {})
    values.update({name: found[name] for name in values if name in found})
    values["size"] = _edges(values["size"], found)
    return values


def video_settings(model_type: str, values: Mapping[str, Any]) -> VideoSettings:
    """Check the settings of one call.

    Args:
        model_type: the family.
        values: as from `stock_values`, with the call's own in place.

    Returns:
        The settings.

    Raises:
        ConfigError: an edge of the size rule is missing or frames are not square, an unknown filter, or both fps and
            num_frames.

    Source: ours; names and meaning as in transformers.
    """
    size = _edges(values["size"], values)
    judged = None
    if "height" in STOCK_DEFAULTS[model_type]["size"]:
        values, size, judged = _of_grid(values, size)
    elif not size.get("shortest_edge") or not size.get("longest_edge"):
        raise ConfigError(f"size is {dict(size)}; it needs 'shortest_edge' and 'longest_edge', in pixels.")
    if int(values["resample"]) not in _RESAMPLE:
        raise ConfigError(f"resample is {values['resample']!r}; it must be 2 (bilinear) or 3 (bicubic).")
    return VideoSettings(
        layout=_layout(values),
        min_pixels=size["shortest_edge"],
        max_pixels=size["longest_edge"],
        counts_time=model_type == "qwen3_vl",
        cap_pixels_per_frame=bool(values["cap_pixels_per_frame"]),
        max_video_tokens=values["max_video_tokens"],
        do_resize=values["do_resize"],
        resample=_RESAMPLE[int(values["resample"])],
        do_sample_frames=bool(values["do_sample_frames"]),
        fps=values["fps"],
        num_frames=values["num_frames"],
        min_frames=values["min_frames"],
        max_frames=values["max_frames"],
        judged=judged,
    )


def _of_grid(
    values: Mapping[str, Any], size: Mapping[str, int]
) -> tuple[dict[str, Any], dict[str, int], JudgedSize]:
    """Complete the settings of a family that brings every frame to one square size."""
    side_px, patch_px = size.get("height"), _OF_GRIDS["patch_size"]
    if not side_px or side_px != size.get("width") or side_px < patch_px:
        raise ConfigError(
            f"size is {dict(size)}; it needs 'height' and 'width', in pixels, equal and at least {patch_px}."
        )
    area = {"shortest_edge": side_px**2, "longest_edge": side_px**2}
    return _OF_GRIDS | dict(values), area, judged_size(side_px // patch_px, patch_px)


def _layout(values: Mapping[str, Any]) -> PatchLayout:
    rescale = values["rescale_factor"] if values["do_rescale"] else 1.0
    mean, std = (values["image_mean"], values["image_std"]) if values["do_normalize"] else (0.0, 1.0)
    return PatchLayout(
        patch_size_px=values["patch_size"],
        temporal_patch_size=values["temporal_patch_size"],
        merge_size=values["merge_size"],
        mean=_per_channel(mean),
        std=_per_channel(std),
        rescale_factor=rescale,
    )


def _per_channel(value: Any) -> tuple[float, ...]:
    return (float(value),) * 3 if isinstance(value, int | float) else tuple(float(part) for part in value)


def _edges(size: Any, found: Mapping[str, Any]) -> dict[str, int]:
    """The size rule's two bounds; older checkpoints spell them min_pixels and max_pixels."""
    edges = {name: value for name, value in dict(size).items() if value is not None}
    for old, new in (("min_pixels", "shortest_edge"), ("max_pixels", "longest_edge")):
        if edges.pop(old, None) is not None or found.get(old) is not None:
            edges[new] = found[old] if found.get(old) is not None else dict(size)[old]
    return edges
