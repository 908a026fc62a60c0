"""How the pixels of a model's calls were scaled: as its processor says, else its checkpoint, else its family."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from framegate.models.family import Family
from framegate.models.towers.patches import Scaling
from framegate.models.video_processor.settings import stock_values, video_settings


def scaling_of(model: Any, processor: Any, family: Family) -> Scaling:
    """Find how pixels were brought to what the tower reads.

    Args:
        model: the transformers model, unwrapped.
        processor: its processor; None for none.
        family: its family.

    Returns:
        What the processor does; without one what the files of the model's own checkpoint say, where they are on this
        machine; else what the family's released checkpoints have, marked as assumed.
    """
    reader = getattr(processor, "video_processor", None)
    values = _checkpoint_values(model) if reader is None else reader.to_dict()
    if values is None or "image_mean" not in values:
        return family.scaling
    layout = video_settings(family.model_type, stock_values(family.model_type, values)).layout
    return Scaling(mean=layout.mean, std=layout.std, rescale_factor=layout.rescale_factor)


def _checkpoint_values(model: Any) -> Mapping[str, Any] | None:
    from transformers.video_processing_utils import VideoProcessorMixin

    name = getattr(model, "name_or_path", "") or getattr(model.config, "_name_or_path", "")
    if not name:
        return None
    try:
        values, _ = VideoProcessorMixin.get_video_processor_dict(name, local_files_only=True)
    except (OSError, ValueError):
        return None
    return dict(values)
