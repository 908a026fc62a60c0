"""Tokens of a row: what the language model reads of a video, and where it comes from; rows as a model takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from framegate.errors import ConfigError

if TYPE_CHECKING:
    from framegate.models.attachment.call import Encoding

Arrays = Mapping[str, np.ndarray[Any, Any]]
MEDIA = "mm_encoder_outputs"
_TOKENS = "tokens_"
_PROVENANCE = ("cell", "size", "source", "age")
# of a media output, what stock models read
_FIELDS = ("pooler_output", "deepstack_features")


def token_arrays(encoding: Encoding) -> dict[str, np.ndarray[Any, Any]]:
    """Spell an encoding as arrays by name: the prompt, the features of each layer, and the tokens' provenance."""
    from framegate.models.transformers_private import MEDIA_KEY

    tokens, inputs = encoding.tokens, dict(encoding.inputs)
    media = inputs.pop(MEDIA_KEY, None) or {}
    arrays = {name: _numpy(value) for name, value in inputs.items() if hasattr(value, "numpy")}
    for kind, output in media.items():
        for field in _FIELDS:
            for place, values in _flat(getattr(output, field, None)):
                arrays[".".join((MEDIA, kind, field, *place))] = _numpy(values)
    if tokens is not None:
        arrays |= {_TOKENS + name: _numpy(getattr(tokens, name)) for name in _PROVENANCE}
        arrays[f"{_TOKENS}shapes"] = np.array(tokens.shapes, np.int64)
    return arrays


def are_tokens(arrays: Arrays) -> bool:
    """True of the arrays of a row of "tokens"."""
    return f"{_TOKENS}cell" in arrays


def tokens_of(arrays: Arrays) -> dict[str, Any]:
    """What `token_arrays` spelled: `inputs`, whose media are nested by kind and field, and `tokens`, the provenance."""
    inputs: dict[str, Any] = {}
    for name, values in arrays.items():
        if name.startswith(_TOKENS):
            continue
        *path, last = name.split(".")
        into = inputs
        for part in path:
            into = into.setdefault(part, {})
        into[last] = values
    provenance = {name.removeprefix(_TOKENS): arrays[name] for name in arrays if name.startswith(_TOKENS)}
    return {"inputs": inputs, "tokens": provenance}


def model_inputs(row: Mapping[str, Any], device: Any = "cpu") -> dict[str, Any]:
    """Make a row of patches or tokens into what a model takes.

    Args:
        row: of `read_shards`.
        device: where the tensors go.

    Returns:
        Keyword arguments of `generate` and of a forward: of patches for the model with its front end, of tokens for the
        checkpoint's stock model, which runs no tower.

    Raises:
        ConfigError: a row of plans, answers or an error, which holds none.
    """
    import torch

    from framegate.models.towers.grid_geometry import MediaFeatures

    if not row.get("inputs"):
        raise ConfigError(f"Row {row.get('id')!r} holds no inputs; rows of --output patches and tokens do.")

    def tensors(values: Any) -> Any:
        if isinstance(values, Mapping):
            return [tensors(values[place]) for place in sorted(values, key=int)]
        return torch.from_numpy(values).to(device)

    inputs = {name: tensors(values) for name, values in row["inputs"].items() if name != MEDIA}
    media = {}
    for kind, fields in row["inputs"].get(MEDIA, {}).items():
        media[kind] = MediaFeatures()
        for field, values in fields.items():
            setattr(media[kind], field, tensors(values))
    return inputs | ({MEDIA: media} if media else {})


def _flat(values: Any, place: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """Tensors in lists of lists, with their numbers."""
    if values is None:
        return []
    if hasattr(values, "numpy"):
        return [(place or ("0",), values)]
    found = []
    for number, value in enumerate(values):
        found += _flat(value, (*place, str(number)))
    return found


def _numpy(values: Any) -> np.ndarray[Any, Any]:
    """A tensor as an array; bfloat16, which arrays have not, as the float32 of the same value."""
    values = values.detach().cpu()
    return np.asarray(values.float() if values.is_floating_point() and values.itemsize == 2 else values)
