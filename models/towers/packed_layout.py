"""Precomputed keyword arguments that let a packed tower of transformers run on a subset of its cells."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from framegate.models.transformers_private import (
    interpolation,
    patch_places,
    tower_kwargs,
    tube_boundaries,
    window_index,
)


class Layout(NamedTuple):
    """The dense order of a tower's rows.

    Args:
        order: int64 [N], cell at each place of the tower's own order (windows permute it).
        cu_tubes: int64 [S + 1], boundaries of the full-attention segments in that order, in cells.
        cu_windows: int64 [W + 1], boundaries of the window segments, None where the tower has none.
    """

    order: torch.Tensor
    cu_tubes: torch.Tensor
    cu_windows: torch.Tensor | None


def layout(tower: Any, grid_thw: torch.Tensor, merge_size: int | None = None) -> Layout:
    """Read how a tower orders and segments its cells, for videos of int64 [V, 3] patches.

    merge_size: patches along the side of a cell; None for the one in the tower's configuration.
    """
    merge_size = merge_size or tower.config.spatial_merge_size
    cu_tubes = tube_boundaries(grid_thw).long() // merge_size**2
    windows = window_index(tower, grid_thw, merge_size)
    if windows is None:
        return Layout(torch.arange(int(cu_tubes[-1])), cu_tubes, None)
    order, cu_windows = windows
    return Layout(order, cu_tubes, cu_windows.long() // merge_size**2)


def segment_lengths(flags: torch.Tensor, boundaries: torch.Tensor) -> torch.Tensor:
    """Count the flagged cells, bool [N] in the tower's order, between boundaries, int64 [S + 1]: int64 [S]."""
    counts = F.pad(flags.long().cumsum(0), (1, 0))
    return counts[boundaries[1:]] - counts[boundaries[:-1]]


def boundaries(lengths: torch.Tensor, *, rows_per_cell: int) -> torch.Tensor:
    """Turn segment lengths in cells into cumulative rows, int32 [S + 1]."""
    return F.pad((lengths * rows_per_cell).cumsum(0), (1, 0)).int()


def packed_kwargs(
    tower: Any,
    grid_thw: torch.Tensor,
    keep: torch.Tensor,
    dense: Layout,
    *,
    merge_size: int | None = None,
    keep_empty: bool = False,
) -> dict[str, Any]:
    """Build what the tower would compute itself from the grid, for the kept cells alone.

    Args:
        tower: the vision tower.
        grid_thw: int64 [V, 3] on the CPU.
        keep: bool [N] on the CPU, cells in token order.
        dense: the tower's layout.
        merge_size: patches along the side of a cell; None for the one in the tower's configuration.
        keep_empty: leave segments without a kept cell in the boundaries (stock attention cannot take them).

    Returns:
        Keyword arguments of the tower.
    """
    merge_size = merge_size or tower.config.spatial_merge_size
    rows_per_cell = merge_size**2
    patches = keep.repeat_interleave(rows_per_cell)
    kept_in_order = keep[dense.order]

    def segments(cu: torch.Tensor) -> torch.Tensor:
        lengths = segment_lengths(kept_in_order, cu)
        return boundaries(lengths if keep_empty else lengths[lengths > 0], rows_per_cell=rows_per_cell)

    windows = None
    if dense.cu_windows is not None:
        rank = keep.long().cumsum(0) - 1
        windows = rank[dense.order[kept_in_order]], segments(dense.cu_windows)
    learned = interpolation(tower, grid_thw, merge_size)
    return tower_kwargs(
        position_ids=patch_places(grid_thw, merge_size)[patches],
        cu_seqlens=segments(dense.cu_tubes),
        windows=windows,
        interpolated=None if learned is None else (learned[0][patches], learned[1][patches]),
    )


def kept_patches(tower: Any, keep: torch.Tensor) -> torch.Tensor:
    """Spread a mask over cells to the tower's input rows.

    Args:
        tower: the vision tower.
        keep: bool [N], cells in token order.

    Returns:
        bool [N * rows of a cell].
    """
    rows: torch.Tensor = keep.repeat_interleave(tower.config.spatial_merge_size**2)
    return rows
