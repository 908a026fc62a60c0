"""Loading by name: thin shells over transformers' Auto classes that attach a front end; none is re-registered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from framegate.config import FrontEndConfig
from framegate.configs.loader import DEFAULT_PRESET, load_config
from framegate.errors import ConfigError
from framegate.models.attachment.front_end import CONFIG_NAME, attach_front_end
from framegate.models.families import Family, family_of_type


def resolve_config(name_or_path: str | Path, front_end: Any) -> FrontEndConfig:
    """Find the configuration for a checkpoint.

    Args:
        name_or_path: folder or hub id.
        front_end: what the caller asked for; None reads the folder's own, else the default preset.

    Returns:
        The validated configuration.

    Raises:
        ConfigError: the folder's configuration is not valid.
    """
    if front_end is not None:
        return load_config(front_end)
    path = Path(name_or_path) / CONFIG_NAME
    if not path.is_file():
        return load_config(DEFAULT_PRESET)
    try:
        return FrontEndConfig.from_dict(json.loads(path.read_text()))
    except json.JSONDecodeError as error:
        raise ConfigError(f"{path} is not valid JSON: {error}") from error


def _family(name_or_path: str | Path) -> Family:
    from transformers import AutoConfig

    return family_of_type(AutoConfig.from_pretrained(name_or_path).model_type)


def _load_model(name_or_path: str | Path, options: dict[str, Any]) -> Any:
    from transformers import AutoModelForImageTextToText as Stock

    return Stock.from_pretrained(name_or_path, **options)


def load_attached(name_or_path: str | Path, front_end: Any, options: dict[str, Any]) -> tuple[Any, Any]:
    """Load model and processor of a checkpoint and attach a front end; see `framegate.from_pretrained`."""
    from framegate.models.video_processor import load_processor

    config, family = resolve_config(name_or_path, front_end), _family(name_or_path)
    processor = load_processor(name_or_path, family.model_type)
    model = _load_model(name_or_path, options)
    attach_front_end(model, processor, config)
    return model, processor


class AutoModelForImageTextToText:
    """Loads a supported checkpoint through transformers' own class and attaches a front end."""

    @staticmethod
    def from_pretrained(name_or_path: str | Path, *, front_end: Any = None, **options: Any) -> Any:
        """Load a model with its front end.

        Args:
            name_or_path: folder or hub id.
            front_end: configuration as for `framegate.attach`; None reads the folder's own.
            options: handed to transformers.

        Returns:
            The stock model class, attached.

        Raises:
            UnsupportedModelError: the checkpoint's model type is in no row of the family table.
            ConfigError: the configuration is not valid.
        """
        config = resolve_config(name_or_path, front_end)
        _family(name_or_path)
        model = _load_model(name_or_path, options)
        attach_front_end(model, None, config)
        return model


class AutoProcessor:
    """Loads a supported checkpoint's processor, with or without torchvision, and attaches to it."""

    @staticmethod
    def from_pretrained(name_or_path: str | Path, *, front_end: Any = None) -> Any:
        """Load a processor that gates videos as it decodes them.

        Args:
            name_or_path: folder or hub id.
            front_end: configuration as for `framegate.attach`; None reads the folder's own.

        Returns:
            The processor, attached.

        Raises:
            UnsupportedModelError: the checkpoint's model type is in no row of the family table.
            ConfigError: the configuration is not valid.
        """
        from framegate.models.video_processor import attach_processor, load_processor

        config, family = resolve_config(name_or_path, front_end), _family(name_or_path)
        processor = load_processor(name_or_path, family.model_type)
        attach_processor(processor, family, config)
        return processor
