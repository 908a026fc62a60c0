"""Processors where torchvision is missing: the family's own stock class around our video processor."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from framegate.models.families import families, family_of_type, processor_families
from framegate.models.transformers_private import unchecked_processor
from framegate.models.video_processor.attach import install_hooks
from framegate.models.video_processor.processor import GatedVideoProcessor
from framegate.models.video_processor.settings import sizes_of, stock_values, video_settings
from framegate.tokenizers.plan_config import PlanConfig

_DENSE = PlanConfig(preset="dense")


def load_processor(name_or_path: str | Path, family: Any = None, **options: Any) -> Any:
    """Load a processor, with torchvision or without.

    Args:
        name_or_path: folder or hub id.
        family: row of the family table or model_type; None reads it from the folder's configuration.
        options: handed to the `from_pretrained` of transformers, for example revision or local_files_only.

    Returns:
        What `transformers.AutoProcessor` gives; where torchvision is missing, the same class around a video
        processor that needs none and drops nothing until a front end is attached.

    Raises:
        UnsupportedModelError: torchvision is missing and the family is not known here.
        OSError: no processor's files there.
    """
    if torchvision_found():
        from transformers import AutoProcessor

        return AutoProcessor.from_pretrained(name_or_path, **options)
    model_type = _model_type(name_or_path, getattr(family, "model_type", family), options)
    return _assemble(model_type, _parts(str(name_or_path), model_type, options))


def build_processor(
    family: Any, tokenizer: Any, chat_template: str | None = None, size: Mapping[str, int] | None = None
) -> Any:
    """Build a processor from a tokenizer alone, by the family's defaults; needs no torchvision.

    Args:
        family: row of the family table or model_type.
        tokenizer: with the family's special tokens.
        chat_template: a Jinja template, None for the tokenizer's own.
        size: bounds of the video size rule, "shortest_edge" and "longest_edge" in pixels; where every frame is brought
            to one size, "height" and "width", or "shortest_edge" alone where that is cut out of the middle.

    Returns:
        The family's stock processor class around our video processor, which drops nothing until a front end
        is attached.

    Raises:
        UnsupportedModelError: an unknown family; the message names the nearest one.
        ConfigError: a size that its tower cannot take.
    """
    model_type = getattr(family, "model_type", family)
    recipe = family_of_type(model_type).recipe
    values = stock_values(model_type, sizes_of(model_type, size))
    video_settings(model_type, values)  # sizes that cannot be are refused here, not at the first video
    of_images, own = recipe.built(values)
    parts = {
        "image_processor": recipe.image_processor_class()(**of_images),
        "tokenizer": tokenizer,
        "video_processor": GatedVideoProcessor(model_type, values, _DENSE),
        "chat_template": chat_template or getattr(tokenizer, "chat_template", None),
    }
    processor = _assemble(model_type, parts | own)
    # a processor's own bounds are stronger than those of its video processor
    given = getattr(processor, "videos_kwargs", {})
    if size and "size" in given:
        processor.videos_kwargs = given | {"size": values["size"]}
    return processor


def torchvision_found() -> bool:
    """Tell whether transformers will find torchvision.

    Returns:
        True when it is installed; whether it can be imported is another question (`framegate doctor`).
    """
    from transformers.utils import is_torchvision_available

    return bool(is_torchvision_available()) and importlib.util.find_spec("torchvision") is not None


def _parts(name_or_path: str, model_type: str, options: Mapping[str, Any]) -> dict[str, Any]:
    import transformers
    from transformers import AutoTokenizer
    from transformers.processing_utils import ProcessorMixin
    from transformers.video_processing_utils import VideoProcessorMixin

    values, _ = VideoProcessorMixin.get_video_processor_dict(name_or_path, **options)
    files, _ = ProcessorMixin.get_processor_dict(name_or_path, **options)
    tokenizer = AutoTokenizer.from_pretrained(name_or_path, **options)
    recipe = family_of_type(model_type).recipe
    parts = {name: files[name] for name in recipe.arguments if name in files}
    if recipe.feature_extractor is not None:
        hears = getattr(transformers, recipe.feature_extractor)
        parts["feature_extractor"] = hears.from_pretrained(name_or_path, **options)
    return parts | {
        "image_processor": recipe.image_processor_class().from_pretrained(name_or_path, **options),
        "tokenizer": tokenizer,
        "video_processor": GatedVideoProcessor(model_type, values, _DENSE),
        "chat_template": files.get("chat_template") or getattr(tokenizer, "chat_template", None),
    }


def _assemble(model_type: str, parts: Mapping[str, Any]) -> Any:
    """Make an instance of the stock class; its check of argument classes cannot run without torchvision."""
    import transformers

    cls = getattr(transformers, family_of_type(model_type).recipe.processor)
    processor = unchecked_processor(cls, parts)
    install_hooks(processor)
    return processor


def _model_type(name_or_path: str | Path, model_type: str | None, options: Mapping[str, Any]) -> str:
    """Of the family whose processor a folder holds: one of those that the model's may be, or any."""
    from transformers import AutoConfig
    from transformers.processing_utils import ProcessorMixin

    files, _ = ProcessorMixin.get_processor_dict(str(name_or_path), **options)
    for family in families().values() if model_type is None else processor_families(model_type):
        if files.get("processor_class") == family.recipe.processor:
            return family.model_type
    return model_type or str(AutoConfig.from_pretrained(name_or_path, **options).model_type)
