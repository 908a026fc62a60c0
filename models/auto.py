"""Loading by name: thin shells over transformers' Auto classes that attach a front end; none is re-registered."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from framegate.config import CONFIG_NAME, WEIGHTS_NAME, FrontEndConfig
from framegate.configs.loader import DEFAULT_PRESET, learned_weights, load_config
from framegate.errors import ConfigError
from framegate.models.attachment.attach import attach_front_end
from framegate.models.attachment.serving import check_served
from framegate.models.families import Family, family_of_config
from framegate.models.nano import shipped_folder
from framegate.models.transformers_private import config_values, file_if_there

# settings of a front end that callers give beside it, as they do to `framegate.attach`
_OF_FRONT_END = ("keep_ratio", "tower_ratio", "max_video_tokens", "fps", "preset")
# What says which files of a checkpoint are meant, to model, configuration and processor alike.
_HUB_OPTIONS = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")


def resolve_config(
    name_or_path: str | Path, front_end: Any, hub: dict[str, Any]
) -> tuple[FrontEndConfig, Path | None]:
    """Find the configuration for a checkpoint, and the path of what its front end had learned, None for nothing.

    What the caller asked for as `front_end`; None reads the checkpoint's own, else the default preset. `hub` holds the
    options that say which files are meant.
    """
    if front_end is not None:
        return load_config(front_end), learned_weights(front_end)
    path = file_if_there(name_or_path, CONFIG_NAME, hub)
    if path is None:
        return load_config(DEFAULT_PRESET), None
    # fetched before it is looked for: on a hub every file is fetched by name
    file_if_there(name_or_path, WEIGHTS_NAME, hub)
    return load_config(path), learned_weights(path)


def _folder(name_or_path: Any) -> str | Path:
    """A name as it is looked up; ConfigError for what is none."""
    if not isinstance(name_or_path, str | PathLike):
        raise ConfigError(f"name_or_path is {name_or_path!r}; give a folder or a hub id.")
    return shipped_folder(name_or_path if isinstance(name_or_path, str) else Path(name_or_path))


def _hub_options(options: dict[str, Any]) -> dict[str, Any]:
    return {name: options[name] for name in _HUB_OPTIONS if name in options}


def _family(name_or_path: str | Path, hub: dict[str, Any]) -> Family:
    return family_of_config(config_values(name_or_path, hub))


def _load_model(name_or_path: str | Path, options: dict[str, Any]) -> Any:
    from transformers import AutoModelForImageTextToText as Stock

    mine = {name: options[name] for name in _OF_FRONT_END if name in options}
    if mine:
        raise ConfigError(
            f"{', '.join(mine)} of from_pretrained would go to the model: write front_end={mine}, beside a "
            '"preset" where it is not the default.'
        )
    if options.get("output_loading_info"):
        raise ConfigError(
            "output_loading_info=True returns a pair; load with transformers and framegate.attach."
        )
    return Stock.from_pretrained(name_or_path, **options)


def load_attached(name_or_path: str | Path, front_end: Any, options: dict[str, Any]) -> tuple[Any, Any]:
    """Load model and processor of a checkpoint and attach a front end; see `framegate.from_pretrained`."""
    from framegate.models.video_processor import load_processor

    name_or_path, hub = _folder(name_or_path), _hub_options(options)
    (config, weights), family = resolve_config(name_or_path, front_end, hub), _family(name_or_path, hub)
    processor = load_processor(name_or_path, family.model_type, **hub)
    model = _load_model(name_or_path, options)
    attach_front_end(model, processor, config, weights=weights)
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
            ConfigError: the configuration is not valid, or the name is none.
        """
        name_or_path, hub = _folder(name_or_path), _hub_options(options)
        config, weights = resolve_config(name_or_path, front_end, hub)
        _family(name_or_path, hub)
        model = _load_model(name_or_path, options)
        attach_front_end(model, None, config, weights=weights)
        return model


class AutoProcessor:
    """Loads a supported checkpoint's processor, with or without torchvision, and attaches to it."""

    @staticmethod
    def from_pretrained(name_or_path: str | Path, *, front_end: Any = None, **options: Any) -> Any:
        """Load a processor that gates videos as it decodes them.

        Args:
            name_or_path: folder or hub id.
            front_end: configuration as for `framegate.attach`; None reads the folder's own.
            options: handed to transformers.

        Returns:
            The processor, attached.

        Raises:
            UnsupportedModelError: the checkpoint's model type is in no row of the family table.
            ConfigError: the configuration is not valid, or the name is none.
        """
        from framegate.models.video_processor import attach_processor, load_processor

        name_or_path, hub = _folder(name_or_path), _hub_options(options)
        (config, _), family = resolve_config(name_or_path, front_end, hub), _family(name_or_path, hub)
        processor = load_processor(name_or_path, family.model_type, **options)
        check_served(config, family)
        attach_processor(processor, family, config.plan)
        return processor
