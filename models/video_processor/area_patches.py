"""Rows of tokens that stand for areas of several cells: cut from the frames reduced by the area's side."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from framegate.models.video_processor.patches import Float32Array, PatchLayout, patchify
from framegate.tokenizers.gate.areas.levels import areas_at, level_frames
from framegate.tokenizers.gate.grid import CellGrid
from framegate.types import UInt8Array

Int8Array = npt.NDArray[np.int8]


def patchify_areas(frames: UInt8Array, layout: PatchLayout, scale: Int8Array) -> Float32Array:
    """Cut frames into the tower's rows, one cell of rows per token, whatever area it stands for.

    Args:
        frames: uint8 [F, h, w, 3], sides multiples of layout.cell_px; the last frame fills up the last tube.
        layout: how to cut and scale.
        scale: int8 [T, H, W], side of the token that stands at each cell, 0 for none.

    Returns:
        float32 [4 * K, C * tp * p * p] in token order: tube by tube, by the cells at which the tokens stand.

    Source: ours.
    """
    _, height_px, width_px, _ = frames.shape
    grid = CellGrid.of(height_px, width_px, cell_px=layout.cell_px, tube_frames=layout.temporal_patch_size)
    sides = scale[scale > 0]
    rows = np.empty((len(sides), layout.patches_per_cell, layout.patch_dim), np.float32)
    for side in np.unique(sides).tolist():
        cut = patchify(level_frames(frames, grid, side), layout, areas_at(scale, side))
        rows[sides == side] = cut.reshape(-1, *rows.shape[1:])
    return rows.reshape(-1, layout.patch_dim)
