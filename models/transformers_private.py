"""What rests on names that transformers does not document: all of them are here, as seen in 5.19 to 5.24.

A new release of transformers is read against this file. Names that are public there, and those that belong to one
family alone, stand where they are used.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

# What packed towers compute from grids: boundaries, places, windows. No page of the documentation names them.
from transformers.vision_utils import (
    get_vision_cu_seqlens,
    get_vision_interpolation_indices_and_weights,
    get_vision_nearest_position_ids,
    get_vision_position_ids,
    get_vision_window_index,
)

# Keyword argument of a multimodal model's forward, and of generate: what the tower would have given, by "image" and
# "video". With it the model runs no tower. generate repeats its features for beams and cuts them for chunks.
MEDIA_KEY = "mm_encoder_outputs"

# Where a model keeps a loss that was set by its public property `loss_function`; without it the property computes one.
LOSS_NAME = "_loss_function"

# Steps of `ProcessorMixin.__call__`. The first brings pictures and videos into flat lists; the second runs the video
# processor and gives its output and the text of each video; the third, called by the second, writes one such text.
LAYOUT_METHOD = "prepare_inputs_layout"
VIDEOS_METHOD = "_process_videos"
PLACEHOLDER_METHOD = "replace_video_token"

# Vision attention hands boundaries of packed segments (cu_seq_lens_q) to functions whose name contains "flash"; for
# all others it cuts the sequence itself. Unknown keyword arguments of the tower reach that function as they are.
OWN_ATTENTION = "flash_attention_framegate"

# Boundaries of full attention, among the keyword arguments of a packed tower (`tower_kwargs`).
SEGMENTS_KEY = "cu_seqlens"


def attention_of(config: Any) -> str:
    """Read which attention function a configuration names (`_attn_implementation`; only setting it is public)."""
    return str(config._attn_implementation)


def with_attention(config: Any, name: str) -> Any:
    """Copy a configuration and name another attention function in the copy, past the checks of the public setter."""
    own = copy.deepcopy(config)
    own._attn_implementation = name
    return own


def packs_documents(config: Any) -> bool:
    """Tell whether gaps in positions are read as seams of documents packed into a row, as FlashAttention reads them.

    Args:
        config: of the language model.

    Returns:
        True for every attention function with "flash" in its name.
    """
    return "flash" in attention_of(config)


def rope_index(inner: Any, call: Mapping[str, Any]) -> torch.Tensor:
    """Ask a model for the positions of a prompt (`get_rope_index`, of M-RoPE models; each class takes other arguments).

    Args:
        inner: the model without its language-model head.
        call: keyword arguments; what the method does not know is left out.

    Returns:
        int64 [3, B, S].
    """
    names = set(inspect.signature(inner.get_rope_index).parameters) - {"kwargs", "self"}
    positions: torch.Tensor = inner.get_rope_index(
        **{name: call[name] for name in names if call.get(name) is not None}
    )[0]
    return positions


def cached_rows(cache: Any) -> int:
    """Count the rows of a filled cache: its `layers` hold `keys`, [B, h, S, d] each, but those of linear attention."""
    return int(_with_keys(cache)[0].keys.shape[0])


def keys_at(cache: Any, column: int) -> torch.Tensor | None:
    """Copy the last layer's keys of one column: by them, the rows of a prompt are told apart.

    Args:
        cache: a filled cache.
        column: which.

    Returns:
        [rows, h * d]; None for a cache that shows no keys of all its columns (quantised, or of a sliding window).
    """
    layers = _with_keys(cache)
    keys = layers[-1].keys if layers else None
    if not isinstance(keys, torch.Tensor) or keys.ndim != 4 or keys.shape[2] < cache.get_seq_length():
        return None
    return keys[:, :, column].flatten(1).clone()


def _with_keys(cache: Any) -> list[Any]:
    """The layers of a cache that hold keys; those of linear attention hold a running state instead."""
    return [layer for layer in cache.layers if hasattr(layer, "keys")]


def position_delta(inner: Any) -> torch.Tensor | None:
    """Read by how much the positions of the stock model's last prompt run ahead of its tokens (`rope_deltas`).

    Args:
        inner: the model without its language-model head.

    Returns:
        int64 [B, 1]; None for models of one axis, and before any prompt with pictures.
    """
    return getattr(inner, "rope_deltas", None)


def tube_boundaries(grid_thw: torch.Tensor) -> torch.Tensor:
    """Boundaries of full attention in patches, one segment a tube: int [S + 1], of grids int64 [V, 3]."""
    boundaries: torch.Tensor = get_vision_cu_seqlens(grid_thw)
    return boundaries


def patch_places(grid_thw: torch.Tensor, merge_size: int) -> torch.Tensor:
    """Row and column of each patch, int64 [N, 2], cell by cell, of grids int64 [V, 3] in patches."""
    places: torch.Tensor = get_vision_position_ids(grid_thw, merge_size)
    return places


def nearest_places(sizes: torch.Tensor, side: int) -> torch.Tensor:
    """Nearest place of each patch in a square table of learned positions, int64 [N], of sizes int64 [F, 2] in patches.

    A tower's keyword argument `position_ids` takes its place.
    """
    places: torch.Tensor = get_vision_nearest_position_ids(sizes, side)
    return places


def tower_kwargs(
    *,
    position_ids: torch.Tensor,
    cu_seqlens: torch.Tensor,
    windows: tuple[torch.Tensor, torch.Tensor] | None = None,
    interpolated: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> dict[str, torch.Tensor]:
    """Name what a packed tower would compute from the grids itself; its forward takes each that is given instead.

    Args:
        position_ids: int64 [N, 2], row and column of each patch.
        cu_seqlens: int32 [S + 1], boundaries of full attention.
        windows: order of cells, and boundaries of window attention; None for towers without.
        interpolated: places in the table of learned positions, and their weights; None for towers without.

    Returns:
        Keyword arguments of the tower.
    """
    kwargs = {"position_ids": position_ids, SEGMENTS_KEY: cu_seqlens}
    if windows is not None:
        kwargs |= {"window_index": windows[0], "cu_window_seqlens": windows[1]}
    if interpolated is not None:
        kwargs |= {"interp_indices": interpolated[0], "interp_weights": interpolated[1]}
    return kwargs


def window_index(
    tower: Any, grid_thw: torch.Tensor, merge_size: int
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Order cells by windows, as a tower does whose forward reads its `window_size` (Qwen2.5-VL).

    Args:
        tower: the vision tower.
        grid_thw: int64 [V, 3], in patches.
        merge_size: patches along the side of a cell.

    Returns:
        Cell at each place, int64 [N], and boundaries of windows in patches; None for towers without windows.
    """
    if not hasattr(tower, "window_size"):
        return None
    order, boundaries = get_vision_window_index(grid_thw, merge_size, tower.window_size, tower.patch_size)
    return order, boundaries


def interpolation(
    tower: Any, grid_thw: torch.Tensor, merge_size: int
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Place patches in a tower's table of learned positions, by the attributes that its forward reads.

    Args:
        tower: the vision tower.
        grid_thw: int64 [V, 3], in patches.
        merge_size: patches along the side of a cell.

    Returns:
        Places and weights, a row per patch; None for towers without such a table.
    """
    if not hasattr(tower, "num_grid_per_side"):
        return None
    places, weights = get_vision_interpolation_indices_and_weights(
        grid_thw,
        tower.num_grid_per_side,
        mode=tower.interpolation_mode,
        align_corners=tower.interpolation_align_corners,
        spatial_merge_size=merge_size,
    )
    return places, weights


def rotary_angles(tower: Any, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines of places [N, 2], fractions too, by a tower's `rotary_pos_emb` (called with places twice)."""
    cos, sin = tower.rotary_pos_emb(places, places)
    return cos, sin


def checkpoint_name(model: Any) -> str:
    """Where a model was loaded from, folder or hub id (`_name_or_path` of its configuration); "" for none."""
    return getattr(model, "name_or_path", "") or getattr(model.config, "_name_or_path", "") or ""


def class_of_type(model_type: str) -> str:
    """The class that answers questions for a model type, by transformers' own table; "" for none."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES

    return str(MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES.get(model_type, ""))


def config_values(name_or_path: str | Path, hub: Mapping[str, Any]) -> dict[str, Any]:
    """Read a checkpoint's config.json as it is: none of its code runs, and no class need know its model type.

    Args:
        name_or_path: folder or hub id.
        hub: options that say which files are meant.

    Returns:
        Its values.

    Raises:
        OSError: there is none.
    """
    from transformers import PreTrainedConfig

    folder = Path(name_or_path)
    # transformers gives nothing for a folder without the file, as for one whose file says nothing
    if folder.is_dir() and not (folder / hub.get("subfolder", "") / "config.json").is_file():
        raise OSError(f"{str(name_or_path)!r} has no config.json.")
    values, _ = PreTrainedConfig.get_config_dict(name_or_path, **hub)
    return dict(values)


def file_if_there(name_or_path: str | Path, name: str, hub: Mapping[str, Any]) -> Path | None:
    """Fetch a file of a checkpoint, by the private options of `cached_file` that make a missing one no error.

    Args:
        name_or_path: folder or hub id.
        name: of the file.
        hub: options that say which revision is meant.

    Returns:
        Its path, None where the checkpoint has none.
    """
    from transformers.utils import cached_file

    path = cached_file(
        name_or_path,
        name,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
        **hub,
    )
    return None if path is None else Path(path)


def unchecked_processor(cls: Any, parts: Mapping[str, Any]) -> Any:
    """Make a processor of parts that need not be of the classes it names (`check_argument_for_proper_class`).

    Args:
        cls: a processor class of transformers.
        parts: its arguments.

    Returns:
        The instance, with nothing left of the detour.
    """
    processor = object.__new__(cls)
    processor.check_argument_for_proper_class = lambda *_: None
    processor.__init__(**parts)
    del processor.check_argument_for_proper_class
    return processor
