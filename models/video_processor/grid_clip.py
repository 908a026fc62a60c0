"""Clips for towers that pool a grid of patches: what the gate judges, and the patches that kept cells read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch

from framegate.models.grid_tower.geometry import JudgedSize, patches_of_cells
from framegate.models.grid_tower.judged import judged_frame
from framegate.models.video_processor.patches import CHANNELS, BoolArray, Float32Array, PatchLayout, patchify
from framegate.types import UInt8Array


class LumaClip(Protocol):
    """What the gate needs of a clip."""

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width of the luma."""
        ...

    def luma(self) -> Iterator[UInt8Array]:
        """Luma of the frames one by one, uint8 [h, w]."""
        ...

    @property
    def knows_codec_keyframes(self) -> bool:
        """True when it is known which frames the codec coded on their own."""
        ...

    def has_codec_keyframe(self, tube: int) -> bool:
        """Tell, once its luma was read, whether the codec coded a frame of a tube on its own."""
        ...


@dataclass(frozen=True)
class JudgedClip:
    """A clip as the gate judges it: cropped to what the tower sees, scaled to whole cells.

    Args:
        clip: at tower size.
        size: the crop and the scale.
    """

    clip: LumaClip
    size: JudgedSize

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width of the judged luma."""
        return self.size.judged_px, self.size.judged_px

    def luma(self) -> Iterator[UInt8Array]:
        """Luma of the frames one by one, uint8 [judged_px, judged_px]."""
        for luma in self.clip.luma():
            yield judged_frame(luma, self.size)

    @property
    def knows_codec_keyframes(self) -> bool:
        """What the clip knows."""
        return self.clip.knows_codec_keyframes

    def has_codec_keyframe(self, tube: int) -> bool:
        """What the clip says."""
        return self.clip.has_codec_keyframe(tube)


class Cutter(NamedTuple):
    """How the tubes of a clip become what a tower reads.

    Args:
        shape: of everything cut from all tubes.
        cut: number and frames of a tube to its part of that.
    """

    shape: tuple[int, ...]
    cut: Callable[[int, UInt8Array], Float32Array]


def grid_cutter(
    num_frames: int, image_px: int, layout: PatchLayout, size: JudgedSize, scale: npt.NDArray[np.int8] | None
) -> Cutter:
    """Cut the patches that kept cells read; whole frames where nothing is skipped, as the stock model takes them.

    Args:
        num_frames: frames of the clip.
        image_px: side of a frame at tower size.
        layout: one patch a cell, one frame a tube.
        size: the crop that the tower sees.
        scale: int8 [F, H, W], 1 at kept cells; None for whole frames.

    Returns:
        The cutter: rows [patches, C * p * p], or frames [F, C, image_px, image_px].

    Source: ours.
    """
    if scale is None:
        return Cutter(
            (num_frames, CHANNELS, image_px, image_px), lambda _, frames: whole_pixels(frames, layout)
        )
    needed = patches_of(scale, size.seen_px // layout.patch_size_px)

    def cut(number: int, frames: UInt8Array) -> Float32Array:
        seen = frames[:, : size.seen_px, : size.seen_px]
        return patchify(seen, layout, needed[number : number + 1])

    return Cutter((int(needed.sum()), layout.patch_dim), cut)


def patches_of(scale: npt.NDArray[np.int8], side: int) -> BoolArray:
    """Patches that kept cells read: int8 [F, H, W] -> bool [F, side, side]."""
    needed: BoolArray = patches_of_cells(torch.from_numpy(scale > 0), side).numpy()
    return needed


def whole_pixels(frames: UInt8Array, layout: PatchLayout) -> Float32Array:
    """Scale frames as the stock processor does: uint8 [F, h, w, 3] -> float32 [F, 3, h, w]."""
    mean, std = layout.scaling()
    pixels = (frames.astype(np.float32) - mean) / std
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
