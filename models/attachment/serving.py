"""What a call is served with: the model, its tower, the configuration, how pixels were scaled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from framegate.config import FrontEndConfig
from framegate.errors import ConfigError
from framegate.models.families import derived_from
from framegate.models.family import Family
from framegate.models.feature_store import FeatureStore
from framegate.models.mechanism import Mechanism
from framegate.models.towers.patches import Scaling
from framegate.models.transformers_private import checkpoint_name
from framegate.models.video_processor.attach import processor_note
from framegate.models.video_processor.settings import stock_values, video_settings


@dataclass(frozen=True, kw_only=True)
class Attached:
    """The model of a call and what is attached to it.

    Args:
        inner: the model without its language-model head.
        mechanism: its tower.
        config: the front end's configuration.
        head: the language-model head, None when the model has none.
        modules: the stages that are attached, in order.
        has_processor: a processor is attached beside the model.
        has_adapter: the model stands in a wrapper of PEFT, which saves an adapter alone.
        class_notes: what a report should say of the classes of model and processor.
        store: holds the features of tubes that earlier calls encoded; None where nothing is remembered.
    """

    inner: Any
    mechanism: Mechanism
    config: FrontEndConfig
    head: Any
    modules: Any
    has_processor: bool
    has_adapter: bool
    class_notes: tuple[str, ...] = ()
    store: FeatureStore | None = None


def class_notes_of(model: Any, processor: Any, family: Family) -> tuple[str, ...]:
    """Say where model or processor are of other classes than their family's.

    Args:
        model: the transformers model, unwrapped.
        processor: its processor; None for none.
        family: its family.

    Returns:
        Notes for the report.
    """
    of_processor = "" if processor is None else processor_note(processor, family.model_type)
    return tuple(filter(None, (derived_from(model, family), of_processor)))


def check_served(config: FrontEndConfig, family: Family) -> None:
    """Refuse what a family cannot do.

    Args:
        config: the front end's configuration.
        family: its row.

    Raises:
        ConfigError: down-scaling, on a tower that takes one size alone.
    """
    if config.scales_frames and not family.scales_frames:
        raise ConfigError(
            f"down_scaling needs a tower of native resolution, and that of {family.model_class} takes frames of one "
            "size: use preset 'uniform_frames', 'random' or 'rlt' there."
        )


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

    name = checkpoint_name(model)
    if not name:
        return None
    try:
        values, _ = VideoProcessorMixin.get_video_processor_dict(name, local_files_only=True)
    except (OSError, ValueError):
        return None
    return dict(values)
