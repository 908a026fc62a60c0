"""The family table: which model classes are supported, and what differs between them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from framegate.errors import UnsupportedModelError


@dataclass(frozen=True, kw_only=True)
class Family:
    """One row: a model family and the mechanism that serves it.

    Args:
        model_type: `config.model_type` of its checkpoints.
        model_class: the class with a language-model head.
        mechanism: folder under models/ that skips cells before its tower.
        positions: how the language model places tokens.
        timestamps: where the prompt carries time.
        image_mean: per-channel mean that its processor subtracts, RGB, in [0, 1].
        image_std: per-channel spread that its processor divides by, RGB.
        video_size: bounds of the video size rule that released checkpoints set, where they are not the defaults of
            the class: "shortest_edge" and "longest_edge" in pixels.
        learned_positions: a learned position embedding enters the tower's keys and values.
        contexts: what a kept patch may see in the tower, of FrontEndConfig.context.
        mixes_scales: a token may stand for an area of several cells (gate.scales).
        notes: what a user should know.
    """

    model_type: str
    model_class: str
    mechanism: str = "packed_tower"
    positions: str = "M-RoPE"
    timestamps: str = "none"
    image_mean: tuple[float, float, float]
    image_std: tuple[float, float, float]
    video_size: tuple[tuple[str, int], ...] = ()
    learned_positions: bool = False
    contexts: tuple[str, ...] = ("kept", "anchored")
    mixes_scales: bool = True
    notes: str = ""


_CLIP_MEAN, _CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_HALF = (0.5, 0.5, 0.5)

FAMILIES: tuple[Family, ...] = (
    Family(
        model_type="qwen2_vl",
        model_class="Qwen2VLForConditionalGeneration",
        timestamps="stamps after every tube (framegate)",
        image_mean=_CLIP_MEAN,
        image_std=_CLIP_STD,
    ),
    Family(
        model_type="qwen2_5_vl",
        model_class="Qwen2_5_VLForConditionalGeneration",
        timestamps="stamps after every tube (framegate); else M-RoPE time axis (second_per_grid_ts)",
        image_mean=_CLIP_MEAN,
        image_std=_CLIP_STD,
        notes="Window attention: windows are recounted for the kept cells.",
    ),
    Family(
        model_type="qwen3_vl",
        model_class="Qwen3VLForConditionalGeneration",
        timestamps="text before every tube, native",
        image_mean=_HALF,
        image_std=_HALF,
        video_size=(("shortest_edge", 4096), ("longest_edge", 25165824)),
        learned_positions=True,
        notes="DeepStack features are kept with the same cells; anchored context needs gate.motion 'none'.",
    ),
    Family(
        model_type="llava_onevision",
        model_class="LlavaOnevisionForConditionalGeneration",
        mechanism="grid_tower",
        positions="1-D RoPE",
        timestamps="stamps after every frame (framegate)",
        image_mean=_HALF,
        image_std=_HALF,
        learned_positions=True,
        contexts=("kept",),
        mixes_scales=False,
        notes="Cells are those of the pooled 14 x 14 grid; the newline after a video always stays.",
    ),
)


def unwrap(model: Any) -> Any:
    """Return the transformers model inside PEFT, torch.compile and data-parallel wrappers."""
    while True:
        if hasattr(model, "get_base_model"):
            model = model.get_base_model()
        elif "_orig_mod" in getattr(model, "_modules", {}):
            model = model._orig_mod
        elif "module" in getattr(model, "_modules", {}):
            model = model.module
        else:
            return model


def family_of(model: Any) -> Family:
    """Find the row of a model.

    Args:
        model: a transformers model, unwrapped.

    Returns:
        Its family.

    Raises:
        UnsupportedModelError: its class, and every class it derives from, is in no row; the message lists the rows.
    """
    names = [cls.__name__ for cls in type(model).__mro__]
    for family in FAMILIES:
        if family.model_class in names:
            return family
    supported = ", ".join(family.model_class for family in FAMILIES)
    raise UnsupportedModelError(f"{type(model).__name__} is not supported. Supported: {supported}.")


def family_of_type(model_type: str) -> Family:
    """Find the row of a configuration's model type.

    Args:
        model_type: `config.model_type`.

    Returns:
        Its family.

    Raises:
        UnsupportedModelError: no row has that model type; the message lists the rows.
    """
    for family in FAMILIES:
        if family.model_type == model_type:
            return family
    supported = ", ".join(family.model_type for family in FAMILIES)
    raise UnsupportedModelError(f"model_type {model_type!r} is not supported. Supported: {supported}.")


def table() -> list[dict[str, Any]]:
    """Return the rows as dicts, in order."""
    return [asdict(family) for family in FAMILIES]
