"""From the tubes of a clip to what a tower reads: rows of kept cells, or whole frames."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from framegate.models.family import VideoSettings
from framegate.models.towers.grid_geometry import JudgedSize, patches_of_cells
from framegate.models.towers.patches import (
    CHANNELS,
    BoolArray,
    Float32Array,
    PatchLayout,
    patchify,
    patchify_areas,
)
from framegate.types import UInt8Array

Int8Array = npt.NDArray[np.int8]


class Cutter(NamedTuple):
    """How the tubes of a clip become what a tower reads.

    Args:
        shape: of what all tubes give together.
        cut: number and frames of a tube to its part of that, float32.
    """

    shape: tuple[int, ...]
    cut: Callable[[int, UInt8Array], Float32Array]


def cutter_of(
    num_tubes: int, size_px: tuple[int, int], scale: Int8Array | None, settings: VideoSettings
) -> Cutter:
    """Choose how a family's clips are cut.

    Args:
        num_tubes: tubes of the clip.
        size_px: height and width of its frames.
        scale: int8 [T, H, W], side of the token that stands at each cell, 0 for none; None where nothing was skipped.
        settings: of the family.

    Returns:
        The cutter.
    """
    if settings.judged is None:
        return _packed(num_tubes, size_px, scale, settings.layout)
    if scale is None:
        whole = (num_tubes, CHANNELS, *size_px)
        return Cutter(whole, lambda _, frames: _whole(frames, settings.layout))
    return _grid(scale, settings.layout, settings.judged)


def _packed(num_tubes: int, size_px: tuple[int, int], scale: Int8Array | None, layout: PatchLayout) -> Cutter:
    if scale is not None:
        kept = int(np.count_nonzero(scale))
        return Cutter(
            (kept * layout.patches_per_cell, layout.patch_dim),
            lambda number, frames: patchify_areas(frames, layout, scale[number : number + 1]),
        )
    patches = num_tubes * (size_px[0] // layout.patch_size_px) * (size_px[1] // layout.patch_size_px)
    return Cutter((patches, layout.patch_dim), lambda _, frames: patchify(frames, layout))


def _grid(scale: Int8Array, layout: PatchLayout, size: JudgedSize) -> Cutter:
    """Patches that kept cells read."""
    side = size.seen_px // layout.patch_size_px
    needed: BoolArray = patches_of_cells(torch.from_numpy(scale > 0), side).numpy()

    def cut(number: int, frames: UInt8Array) -> Float32Array:
        seen = frames[:, : size.seen_px, : size.seen_px]
        return patchify(seen, layout, needed[number : number + 1])

    return Cutter((int(needed.sum()), layout.patch_dim), cut)


def _whole(frames: UInt8Array, layout: PatchLayout) -> Float32Array:
    """Frames scaled as the stock processor does: uint8 [f, h, w, 3] -> float32 [f, 3, h, w]."""
    mean, std = layout.scaling()
    pixels = (frames.astype(np.float32) - mean) / std
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
