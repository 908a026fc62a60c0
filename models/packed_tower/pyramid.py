"""Tokens that stand for areas: the tower sees each side as a video of its own, smaller by that factor."""

from __future__ import annotations

from typing import NamedTuple

import torch

from framegate.models.cell_plan import CellPlan


class Levels(NamedTuple):
    """The videos of a call once per side of its tokens.

    Args:
        grid_thw: int64 [levels * V, 3], in patches, the finest level first.
        cells: the plan over the cells of all levels; every token is its own anchor.
        order: int64 [K], tokens in the order of the levels.
    """

    grid_thw: torch.Tensor
    cells: CellPlan
    order: torch.Tensor


def levels_of(cells: CellPlan, merge_size: int) -> Levels:
    """Lay a mixed plan out as videos of one resolution each.

    A video reduced d times is what the tower would get of the same video at a lower resolution: its own positions,
    windows and segments, and no change to the tower.

    Args:
        cells: the plan of a call.
        merge_size: patches along the side of a cell.

    Returns:
        The levels; those without a token are left out.

    Source: ours.
    """
    shapes, keeps = [], []
    for side in cells.side[cells.keep].unique().tolist():
        for part, (tubes, rows, columns) in zip(
            cells.side.split(cells.cells_per_video), cells.shapes, strict=True
        ):
            shape = (tubes, -(-rows // side), -(-columns // side))
            tube, row, column = (part.reshape(tubes, rows, columns) == side).nonzero(as_tuple=True)
            keep = torch.zeros(shape, dtype=torch.bool)
            keep[tube, row // side, column // side] = True
            shapes.append(shape)
            keeps.append(keep.flatten())
    keep = torch.cat(keeps)
    own = torch.where(keep, torch.arange(len(keep)), -1)
    plan = CellPlan(keep=keep, side=keep.to(torch.int8), anchor=own, shift_patches=None, shapes=tuple(shapes))
    grid = torch.tensor(shapes) * torch.tensor([1, merge_size, merge_size])
    return Levels(grid, plan, cells.side[cells.keep].argsort(stable=True))
