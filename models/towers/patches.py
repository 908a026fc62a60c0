"""Frames to the rows that a packed tower reads, and back: pure functions on arrays, and luma of rows on a device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from einops import rearrange
from torch import Tensor

from framegate.errors import FrameError
from framegate.types import UInt8Array

Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

CHANNELS = 3
# of red, green and blue in 2 ** -15: the very luma that OpenCV makes of RGB
LUMA_WEIGHTS = (9798, 19235, 3735)
LUMA_BITS = 15
TUBES_AT_ONCE = 32


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """How a processor brought pixels of 0 to 255 to what a tower reads.

    Args:
        mean: per channel, subtracted after rescaling, three values.
        std: per channel, divided by, three values.
        rescale_factor: multiplies a pixel first.
        assumed: nothing said so: it is what the family's released checkpoints have.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    rescale_factor: float = 1 / 255
    assumed: bool = False


@dataclass(frozen=True, kw_only=True)
class PatchLayout:
    """How a family's tower wants pixels cut and scaled.

    Args:
        patch_size_px: side of a patch.
        temporal_patch_size: frames in a tube.
        merge_size: patches along one side of a cell.
        mean: per channel, subtracted after rescaling, three values.
        std: per channel, divided by, three values.
        rescale_factor: multiplies a pixel of 0 to 255 first.
    """

    patch_size_px: int
    temporal_patch_size: int
    merge_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    rescale_factor: float = 1 / 255

    @property
    def cell_px(self) -> int:
        """Side of a cell."""
        return self.patch_size_px * self.merge_size

    @property
    def patches_per_cell(self) -> int:
        """Rows of the tower for one language-model token."""
        return self.merge_size**2

    @property
    def patch_dim(self) -> int:
        """Values in one row."""
        return CHANNELS * self.temporal_patch_size * self.patch_size_px**2

    def scaling(self) -> tuple[Float32Array, Float32Array]:
        """Return mean and std in units of a pixel, float32 [3] each, rescaling fused in."""
        units = np.float32(1.0 / self.rescale_factor)
        return np.asarray(self.mean, np.float32) * units, np.asarray(self.std, np.float32) * units


def patchify(frames: UInt8Array, layout: PatchLayout, keep: BoolArray | None = None) -> Float32Array:
    """Cut frames into the tower's rows, all of them or those of the kept cells.

    Args:
        frames: uint8 [F, h, w, 3], sides multiples of layout.cell_px; the last frame fills up the last tube.
        layout: how to cut and scale.
        keep: bool [T, H, W] in cells; None keeps every cell.

    Returns:
        float32 [4 * K, C * tp * p * p]: tube by tube, cells in rows, the patches of a cell side by side.

    Raises:
        FrameError: a wrong shape or dtype, a side that is no multiple of a cell, or a mask of another shape.

    Source: ours; the order is that of transformers' Qwen2VLVideoProcessor.patchify.
    """
    _check_frames(frames, layout)
    tubes = _cells(
        _fill_last_tube(frames, layout.temporal_patch_size), layout
    )  # [T, H, W, m, m, C, tp, p, p]
    if keep is not None and keep.shape != tubes.shape[:3]:
        raise FrameError(
            f"The mask of kept cells has shape {keep.shape}; these frames have {tubes.shape[:3]} cells."
        )
    kept = tubes.reshape(-1, *tubes.shape[3:]) if keep is None else tubes[keep]  # [K, m, m, C, tp, p, p]
    mean, std = (values[:, None, None, None] for values in layout.scaling())
    pixels = kept.astype(np.float32)
    pixels -= mean
    pixels /= std
    return pixels.reshape(-1, layout.patch_dim)


def unpatchify(pixel_values: Any, grid_thw: tuple[int, int, int], layout: PatchLayout) -> UInt8Array:
    """Put the rows of one whole video together again.

    Args:
        pixel_values: torch tensor or array [t * h * w, C * tp * p * p], every patch of the video.
        grid_thw: tubes, patch rows and patch columns.
        layout: how the rows were cut and scaled.

    Returns:
        uint8 [t * tp, h * p, w * p, 3], each value the nearest whole number in 0 to 255.

    Raises:
        FrameError: the number or the width of the rows does not fit the grid.

    Source: ours; exact inverse of `patchify` up to the frames that fill up the last tube.
    """
    rows = _as_float32(pixel_values)
    t, h, w = (int(side) for side in grid_thw)
    if rows.shape != (t * h * w, layout.patch_dim):
        raise FrameError(
            f"Patches of shape {rows.shape} do not fit the grid {(t, h, w)}: "
            f"expected {(t * h * w, layout.patch_dim)}."
        )
    mean, std = (values[:, None] for values in layout.scaling())
    pixels = rows.reshape(len(rows), CHANNELS, -1) * std + mean  # [N, C, tp*p*p]
    whole = np.rint(pixels, out=pixels).clip(0, 255).astype(np.uint8)
    return _frames(whole, (t, h // layout.merge_size, w // layout.merge_size), layout)


def luma_of_rows(rows: Tensor, grid_thw: tuple[int, int, int], layout: PatchLayout) -> Tensor:
    """Put the rows of one whole video together again, as luma: uint8 [t, tp, h * p, w * p], on the rows' device.

    Arguments and errors as for `unpatchify`, whose result the CPU's gate sees: bit for bit the same luma.
    """
    t, h, w = grid_thw
    if rows.shape != (t * h * w, layout.patch_dim):
        raise FrameError(
            f"Patches of shape {tuple(rows.shape)} do not fit the grid {grid_thw}: expected "
            f"{(t * h * w, layout.patch_dim)}."
        )
    # a few tubes at a time: on the way pixels are several times as large as the rows
    parts = rows.detach().split(TUBES_AT_ONCE * h * w)
    return rearrange(
        torch.cat([_luma(part, layout) for part in parts]),
        "(t H W m n) (a p q) -> t a (H m p) (W n q)",
        t=t,
        H=h // layout.merge_size,
        W=w // layout.merge_size,
        m=layout.merge_size,
        n=layout.merge_size,
        a=layout.temporal_patch_size,
        p=layout.patch_size_px,
        q=layout.patch_size_px,
    ).contiguous()


def _check_frames(frames: UInt8Array, layout: PatchLayout) -> None:
    if frames.ndim != 4 or frames.shape[-1] != CHANNELS or frames.dtype != np.uint8 or len(frames) == 0:
        raise FrameError(f"Frames must be uint8 [F, h, w, 3] with F > 0, got {frames.dtype} {frames.shape}.")
    _, height_px, width_px, _ = frames.shape
    if height_px % layout.cell_px or width_px % layout.cell_px or not height_px or not width_px:
        raise FrameError(
            f"Frames of {height_px} x {width_px} px do not divide into cells of {layout.cell_px} px."
        )


def _fill_last_tube(frames: UInt8Array, temporal_patch_size: int) -> UInt8Array:
    missing = -len(frames) % temporal_patch_size
    return np.concatenate([frames, np.repeat(frames[-1:], missing, 0)]) if missing else frames


def _cells(frames: UInt8Array, layout: PatchLayout) -> UInt8Array:
    """View frames as cells of patches, without a copy."""
    return rearrange(
        frames,
        "(t a) (H m p) (W n q) c -> t H W m n c a p q",
        a=layout.temporal_patch_size,
        m=layout.merge_size,
        n=layout.merge_size,
        p=layout.patch_size_px,
        q=layout.patch_size_px,
    )


def _frames(rows: UInt8Array, cells_thw: tuple[int, int, int], layout: PatchLayout) -> UInt8Array:
    t, height, width = cells_thw
    return rearrange(
        rows,
        "(t H W m n) c (a p q) -> (t a) (H m p) (W n q) c",
        t=t,
        H=height,
        W=width,
        m=layout.merge_size,
        n=layout.merge_size,
        a=layout.temporal_patch_size,
        p=layout.patch_size_px,
        q=layout.patch_size_px,
    )


def _as_float32(values: Any) -> Float32Array:
    if hasattr(values, "detach"):
        values = values.detach().float().cpu().numpy()
    return np.asarray(values, dtype=np.float32)


def _luma(rows: Tensor, layout: PatchLayout) -> Tensor:
    """Luma of some rows: [N, C * tp * p * p] -> uint8 [N, tp * p * p]."""
    mean, std = (
        torch.from_numpy(values).to(rows.device, non_blocking=True)[:, None] for values in layout.scaling()
    )
    pixels = rows.float().unflatten(1, (CHANNELS, -1)) * std + mean  # [N, C, tp*p*p]
    whole = pixels.round_().clamp_(0, 255).int()
    red, green, blue = (whole[:, channel] * weight for channel, weight in enumerate(LUMA_WEIGHTS))
    return ((red + green + blue + (1 << LUMA_BITS - 1)) >> LUMA_BITS).to(torch.uint8)
