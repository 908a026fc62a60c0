"""What a family's video processor is set to: read from its files or its stock object, replaced per call."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypedDict, get_type_hints

from transformers.processing_utils import VideosKwargs

from framegate.errors import AttachmentError, ConfigError, nearest
from framegate.models.families import family_of_type
from framegate.models.family import ProcessorRecipe, Square, VideoSettings
from framegate.models.towers.grid_geometry import judged_size
from framegate.models.towers.patches import PatchLayout
from framegate.models.video_processor.message import SAMPLING
from framegate.settings import Count, Positive, read
from framegate.tokenizers.clip.pixels import Resample


class OwnVideoKwargs(TypedDict, total=False):
    """Keyword arguments of a call beyond those all video processors share; the names are transformers'."""

    min_pixels: int
    max_pixels: int
    patch_size: int
    temporal_patch_size: int
    merge_size: int
    min_frames: int
    max_frames: int
    cap_pixels_per_frame: bool
    max_video_tokens: int
    keep_ratio: float
    tower_ratio: float
    cap_frames: Count
    cap_pixels: Count
    cap_seconds: Positive
    cap_bytes: Count


class QwenVideoKwargs(OwnVideoKwargs, VideosKwargs, total=False):  # type: ignore[misc, call-arg]
    """All keyword arguments of a call."""


_OWN = get_type_hints(OwnVideoKwargs, include_extras=True)
# what the size rule may be bounded by, of families whose towers take frames of any size
_BOUNDS = ("min_pixels", "max_pixels")
# what is read of every call, whatever the family; which frames are asked for is looked at where they are chosen
_READ = {*SAMPLING, "device", "input_data_format", "return_metadata", "return_tensors", "video_metadata"}
# ways of resizing that stock video processors have, by their numbers in PIL
_RESAMPLES: dict[int, Resample] = {1: "lanczos", 2: "bilinear", 3: "bicubic"}
_WHOLE = "frames of this family are not cropped; leave it out, or crop them before"


def checked_setting(name: str, value: Any) -> Any:
    """A setting of a call that is known, and of the right kind: transformers checks those that are shared.

    Raises:
        ConfigError: an unknown setting, or a value of another kind.
    """
    known = {*VideosKwargs.__annotations__, *_OWN}
    if name not in known:
        raise ConfigError(f"Unknown video setting {name!r}. {nearest(name, known)}")
    return read(value, _OWN[name] | None, name) if name in _OWN else value


def stock_values(model_type: str, found: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Complete what a stock video processor, or its parsed file, says by the family's defaults.

    Every setting by its name in transformers, as plain values; other keys than a video processor's are left out.
    """
    values = copy.deepcopy(dict(family_of_type(model_type).recipe.video_values))
    found = family_of_type(model_type).recipe.told(found or {})
    values.update({name: found[name] for name in values if name in found})
    if "size" in values:
        values["size"] = _edges(values["size"], found)
    return values


def layout_values(model_type: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a stock video processor beside those that it leaves to the model."""
    return dict(family_of_type(model_type).recipe.model_values) | stock_values(model_type, found)


def sizes_of(model_type: str, size: Mapping[str, int] | None) -> dict[str, Any]:
    """Spell one size as the settings of a stock video processor that depend on it; none for none."""
    if not size:
        return {}
    if "crop_size" not in family_of_type(model_type).recipe.video_values:
        return {"size": dict(size)}
    side = size.get("shortest_edge", size.get("height"))
    return {"size": dict(size), "crop_size": {"height": side, "width": side}}


def check_followed(model_type: str, setting: Callable[[str], Any]) -> None:
    """Refuse settings of a stock video processor that ours does not follow, by what tells a setting's value.

    Raises:
        AttachmentError: one of them is on.
    """
    recipe = family_of_type(model_type).recipe
    cropped = {} if "crop_size" in recipe.video_values else {"do_center_crop": _WHOLE}
    for name, why in (cropped | dict(recipe.not_followed)).items():
        if setting(name):
            raise AttachmentError(f"The video processor has {name}={setting(name)!r}: {why}.")


def not_followed(model_type: str, call: Mapping[str, Any]) -> tuple[str, ...]:
    """Name the settings of a call that nothing of a family reads; switches that are off ask for nothing."""
    family = family_of_type(model_type)
    known = {*family.recipe.video_values, *_READ, *(_BOUNDS if family.scales_frames else ())}
    left = {
        name: value
        for name, value in call.items()
        if name not in known and value is not False and family.recipe.model_values.get(name) != value
    }
    return tuple(
        f"{name}={value!r}: not followed, for the video processor of {model_type} reads no such setting"
        for name, value in left.items()
    )


def video_settings(model_type: str, values: Mapping[str, Any]) -> VideoSettings:
    """Check the settings of one call, by their names in transformers.

    Raises:
        ConfigError: an edge of the size rule is missing or frames are not square, an unknown filter, or both fps and
            num_frames.
    """
    recipe, judged, square = family_of_type(model_type).recipe, None, None
    values = dict(recipe.model_values) | dict(values)
    if recipe.bounds is not None:
        size = dict(zip(("shortest_edge", "longest_edge"), recipe.bounds(values), strict=True))
    elif recipe.cell_patches is not None:
        square = (recipe.square or partial(_square, recipe))(values)
        side_px, values["patch_size"] = square.side_px, square.patch_px
        size = {"shortest_edge": side_px**2, "longest_edge": side_px**2}
        judged = judged_size(side_px // square.patch_px, square.patch_px, square.cell_patches)
    else:
        size = _edges(values["size"], values)
        if not size.get("shortest_edge") or not size.get("longest_edge"):
            raise ConfigError(f"size is {size}; it needs 'shortest_edge' and 'longest_edge', in pixels.")
    try:
        resample = _RESAMPLES[int(values["resample"])]
    except (KeyError, TypeError, ValueError):
        known = " or ".join(f"{number} ({name})" for number, name in _RESAMPLES.items())
        raise ConfigError(f"resample is {values['resample']!r}; it must be {known}.") from None
    return VideoSettings(
        layout=_layout(values),
        size_rule=recipe.size_rule,
        content_rule=recipe.content_rule,
        sample_rule=recipe.sample_rule,
        min_pixels=size["shortest_edge"],
        max_pixels=size["longest_edge"],
        counts_time=recipe.counts_time,
        cap_pixels_per_frame=bool(values["cap_pixels_per_frame"]),
        max_video_tokens=values["max_video_tokens"],
        do_resize=values["do_resize"],
        resample=resample,
        do_sample_frames=bool(values["do_sample_frames"]),
        fps=values["fps"],
        num_frames=values["num_frames"],
        min_frames=values["min_frames"],
        max_frames=values["max_frames"],
        judged=judged,
        takes_bounds=recipe.bounds is None,
        stock=values,
        shorter_edge_px=None if square is None else square.shorter_edge_px,
        longer_edge_px=None if square is None else square.longer_edge_px,
    )


def _square(recipe: ProcessorRecipe, values: Mapping[str, Any]) -> Square:
    """Check the one square that every frame is brought to, maybe cut out of a larger one."""
    assert recipe.cell_patches is not None
    size, patch_px, name = _edges(values["size"], {}), recipe.model_values["patch_size"], "size"
    edge, square = None, size
    if values.get("do_center_crop"):
        edge, square, name = size.get("shortest_edge"), _edges(values["crop_size"], {}), "crop_size"
    side_px = square.get("height")
    if not side_px or side_px != square.get("width") or side_px < patch_px:
        raise ConfigError(
            f"{name} is {square}; it needs 'height' and 'width', in pixels, equal and at least {patch_px}."
        )
    if square is not size and (edge < side_px if edge else size != square):
        raise ConfigError(
            f"size is {size}; the middle of {side_px} x {side_px} px (crop_size) is cut out of frames, so it needs a "
            f"'shortest_edge' of at least {side_px}, or to be the same."
        )
    edge = (edge or None) if values["do_resize"] else None
    return Square(side_px, patch_px, recipe.cell_patches, shorter_edge_px=edge)


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
    try:
        edges = {name: value for name, value in dict(size).items() if value is not None}
    except (TypeError, ValueError):
        raise ConfigError(
            f"size is {size!r}; it needs 'shortest_edge' and 'longest_edge', or 'height' and 'width', in pixels."
        ) from None
    for old, new in (("min_pixels", "shortest_edge"), ("max_pixels", "longest_edge")):
        if edges.pop(old, None) is not None or found.get(old) is not None:
            edges[new] = found[old] if found.get(old) is not None else dict(size)[old]
    return edges
