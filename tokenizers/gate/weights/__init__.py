"""What a cell's change is worth: maps from luma to luma, one file each, taken before residuals of "mad"."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from framegate.types import UInt8Array

Weight = Callable[["UInt8Array"], "UInt8Array"]
WEIGHTS = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def weight_of(name: str) -> Weight:
    """Look a weight up by its file's name: function from luma, uint8 [h, w], to luma, uint8 [h, w]."""
    weigh: Weight = import_module(f"{__name__}.{name}").weigh
    return weigh


def weighed(tube: UInt8Array, name: str) -> UInt8Array:
    """Weigh the frames of a tube one by one: uint8 [k, h, w] -> uint8 [k, h, w], the tube itself for "luma"."""
    if name == "luma":
        return tube
    # not above: the configuration asks for names alone, and loads no numpy for them
    import numpy as np

    weigh = weight_of(name)
    # a tube of one frame needs no copy
    return weigh(tube[0])[None] if len(tube) == 1 else np.stack([weigh(frame) for frame in tube])


def default_threshold_of(name: str) -> float:
    """Look up above which mean difference (0 to 255) of weighted luma a cell is encoded where no budget decides."""
    threshold: float = import_module(f"{__name__}.{name}").DEFAULT_THRESHOLD
    return threshold
