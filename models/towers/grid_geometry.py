"""A square grid of patches: the cells it is pooled to, the frames that the gate judges, and pixels from patches."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from framegate.types import UInt8Array


class JudgedSize(NamedTuple):
    """How a frame at tower size becomes the frame that the gate judges.

    Args:
        seen_px: side of the top left square that the strided patch projection reads.
        judged_px: side to scale that square to, a whole number of cells.
        cell_px: side of a cell in the judged frame.
    """

    seen_px: int
    judged_px: int
    cell_px: int


def pooled_side(side: int, cell_patches: int) -> int:
    """Cells of `cell_patches` along one side of a frame of `side` patches, rounded up.

    Source: apply_pooling of transformers' LlavaOnevisionModel.
    """
    return -(-side // cell_patches)


def judged_size(side: int, patch_px: int, cell_patches: int) -> JudgedSize:
    """Find the size at which the middle of cell i is the very point that the family's pooling samples for it.

    Pooled cell i samples patch coordinate (i + .5) * side / cells - .5, or averages around it. In frames of cells of
    cell_patches * patch_px that point is the cell's middle, so what the gate judges is what the token shows.
    """
    cell_px = cell_patches * patch_px
    return JudgedSize(side * patch_px, pooled_side(side, cell_patches) * cell_px, cell_px)


def supports(side: int, cells: int) -> Tensor:
    """First and last patch along an axis of `side` patches that each of its cells reads, int64 [cells, 2].

    Where cells divide the patches evenly each reads its own. Elsewhere they are interpolated, as LLaVA-OneVision does.

    Source: bilinear interpolation of torch without aligned corners: the floor of the sampled coordinate, and the next.
    """
    if side % cells == 0:
        own = torch.arange(side).view(cells, -1)
        return own[:, [0, -1]]
    # (i + .5) * side / cells - .5 over a common denominator: in floats, a whole coordinate may fall to either side
    first = ((2 * torch.arange(cells) + 1) * side - cells).clamp(min=0) // (2 * cells)
    return torch.stack([first, (first + 1).clamp(max=side - 1)], dim=1)


def reads(side: int, cells: int) -> Tensor:
    """Which patches along an axis each cell reads: bool [cells, side]."""
    ends, patch = supports(side, cells), torch.arange(side)
    return (patch >= ends[:, :1]) & (patch <= ends[:, 1:])


def patches_of_cells(keep: Tensor, side: int) -> Tensor:
    """Spread a choice of cells, bool [T, cells, cells], to the patches that they read, bool [T, side, side].

    Neighbouring cells of two patches share the one in the middle of an odd side.
    """
    axis = reads(side, keep.shape[-1]).to(keep.device, torch.float32)  # [cells, side]
    # sums of ones: exact in float32
    spread = axis.T @ keep.float() @ axis  # [T, side, side]
    return spread > 0


def anchor_tubes(encoded: Tensor) -> Tensor:
    """Find for each patch the latest tube up to its own that encoded it: bool [T, side, side] -> int64, -1: none."""
    tubes = torch.arange(len(encoded), device=encoded.device)[:, None, None]
    return tubes.where(encoded, -1).cummax(dim=0).values


def judged_frame(frame: UInt8Array, size: JudgedSize) -> UInt8Array:
    """Crop a frame at tower size, uint8 [h, w] or [h, w, 3], to what the tower sees and scale it to whole cells."""
    seen = frame[: size.seen_px, : size.seen_px]
    if size.judged_px == size.seen_px:
        return np.ascontiguousarray(seen)
    scaled: UInt8Array = cv2.resize(seen, (size.judged_px, size.judged_px), interpolation=cv2.INTER_LINEAR)
    return scaled


def cut_patches(pixels: Tensor, patch_px: int) -> Tensor:
    """View frames [F, C, h, w] as the patches that a strided projection sees: [F, n, n, C * p * p].

    The order inside a patch is that of a convolution's weight; what is left at the right and bottom is unseen.
    """
    rows, columns = pixels.shape[-2] // patch_px, pixels.shape[-1] // patch_px
    seen = pixels[..., : rows * patch_px, : columns * patch_px]
    return rearrange(seen, "f c (h p) (w q) -> f h w (c p q)", p=patch_px, q=patch_px)


def whole_frames(patches: Tensor, patch_px: int, image_px: int) -> Tensor:
    """Put the patches of whole frames together, the inverse of `cut_patches`: [F, C, image_px, image_px].

    What no patch covers is zero, and no projection reads it.
    """
    seen = rearrange(patches, "f h w (c p q) -> f c (h p) (w q)", p=patch_px, q=patch_px)
    unseen = image_px - seen.shape[-1]
    return F.pad(seen, (0, unseen, 0, unseen))


def reused_patches(patches: Tensor, encoded: Tensor, anchors: Tensor) -> Tensor:
    """Give every skipped patch its anchor's pixels: [T, n, n, C * p * p].

    The projection sees one patch at a time: embedding a copy of the anchor's pixels is embedding reuse, bit for bit.
    patches [K, C * p * p] are those of encoded places, bool [T, n, n]; anchors, int64 [T, n, n], the tube whose patch
    stands at each.

    Source: the released GRT code's behaviour (its `reuse` path); this way of getting it is ours.
    """
    rank = (encoded.flatten().long().cumsum(0) - 1).view_as(encoded)
    rows = rank.gather(0, anchors)  # [T, n, n]
    return patches[rows.to(patches.device)]


def first_bad_frame(pixels: Tensor) -> int | None:
    """Number of the first frame of [F, C, h, w] that holds NaN or infinite values."""
    bad = ~torch.isfinite(pixels).flatten(1).all(1)
    return int(bad.nonzero()[0]) if bool(bad.any()) else None


class MediaRows(list[Tensor]):
    """Features of each video or image, [K_i, D]; flattens as the stock tensor [V, K, D] does.

    generate repeats and slices features per medium where they are a list, and the model flattens them: a list that
    flattens serves both, where a tensor of unlike rows cannot be made.
    """

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """All rows, [K, D], whatever dimensions the caller names."""
        return torch.cat(list(self))

    def to(self, *args: Any, **named: Any) -> Tensor:
        """All rows, [1, K, D], moved or cast as a stock tensor is."""
        return self.flatten()[None].to(*args, **named)


class MediaFeatures(BaseModelOutputWithPooling):  # type: ignore[misc]
    """What takes the place of the output of `get_video_features`; a list given as pooler_output flattens."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "pooler_output" and isinstance(value, Iterable) and not isinstance(value, Tensor):
            value = MediaRows(value)
        super().__setattr__(name, value)
