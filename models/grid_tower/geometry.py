"""A square grid of patches, the cells that the family pools it to, and the size at which the gate judges cells."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

# Tubes, rows and columns of cells of each video, int64 [V, 3]: what rows of kept patches do not say.
SHAPE_KEY = "framegate_video_shape"


# Patches along the side of a cell.
POOLED_PATCHES = 2


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


def pooled_side(side: int) -> int:
    """Cells along one side of a frame of `side` patches.

    Args:
        side: patches along one side, at least 1.

    Returns:
        ceil(side / 2).

    Source: apply_pooling of transformers' LlavaOnevisionModel.
    """
    return -(-side // POOLED_PATCHES)


def judged_size(side: int, patch_px: int) -> JudgedSize:
    """Find the size at which the middle of cell i is the very point that the family's pooling samples for it.

    Pooled cell i samples patch coordinate (i + .5) * side / cells - .5. In frames of cells of 2 * patch_px that point
    is the cell's middle, so what the gate judges is what the token shows.

    Args:
        side: patches along one side.
        patch_px: side of a patch.

    Returns:
        The crop, the size it is scaled to, and the side of a cell.

    Source: ours.
    """
    cell_px = POOLED_PATCHES * patch_px
    return JudgedSize(side * patch_px, pooled_side(side) * cell_px, cell_px)


def supports(side: int) -> Tensor:
    """First and last patch along an axis that each pooled cell reads.

    Args:
        side: patches along one side.

    Returns:
        int64 [cells, 2], both ends included.

    Source: bilinear interpolation of torch without aligned corners: the floor of the sampled coordinate, and the next.
    """
    cells = pooled_side(side)
    # (i + .5) * side / cells - .5 over a common denominator: in floats, a whole coordinate may fall to either side
    first = ((2 * torch.arange(cells) + 1) * side - cells).clamp(min=0) // (2 * cells)
    return torch.stack([first, (first + 1).clamp(max=side - 1)], dim=1)


def reads(side: int) -> Tensor:
    """Which patches along an axis each pooled cell reads: bool [cells, side]."""
    ends, patch = supports(side), torch.arange(side)
    return (patch >= ends[:, :1]) & (patch <= ends[:, 1:])


def patches_of_cells(keep: Tensor, side: int) -> Tensor:
    """Spread a choice of pooled cells to the patches that they read.

    Args:
        keep: bool [T, H, W], H = W = pooled_side(side).
        side: patches along one side.

    Returns:
        bool [T, side, side]; neighbouring cells share the patch in the middle of an odd side.

    Source: ours.
    """
    axis = reads(side).to(keep.device, torch.float32)  # [cells, side]
    # sums of ones: exact in float32
    spread = axis.T @ keep.float() @ axis  # [T, side, side]
    return spread > 0


def anchor_tubes(encoded: Tensor) -> Tensor:
    """Find, for each patch, the latest tube up to its own that encoded it.

    Args:
        encoded: bool [T, side, side].

    Returns:
        int64 [T, side, side]; -1 where no tube has yet.

    Source: ours.
    """
    tubes = torch.arange(len(encoded), device=encoded.device)[:, None, None]
    return tubes.where(encoded, -1).cummax(dim=0).values
