"""Which rows make up an area, in integer arithmetic; their mean is segment_merge's reference, the law here too."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

MOST_CELLS = 1 << 24  # 128 MiB of row numbers, hours of video


def area_segments(place: Tensor, area: Tensor) -> Tensor:
    """Number the areas in which the rows stand.

    Args:
        place: group, row and column of each row, int64 [N, 3], 0 and above.
        area: rows and columns of the areas of its group, int64 [N, 2], at least 1.

    Returns:
        Area of each row, int64 [N], from 0 without gaps, by group, then in reading order.

    Raises:
        ValueError: shapes that do not match, a negative place, an area below 1 or differing inside a group.
    """
    if not (place.ndim == area.ndim == 2 and place.shape == (len(area), 3) and area.shape[1] == 2):
        raise ValueError(
            f"place and area must be [N, 3] and [N, 2], got {tuple(place.shape)} and {tuple(area.shape)}."
        )
    if not len(place):
        return place.new_zeros(0)
    if int(place.min()) < 0 or int(area.min()) < 1:
        raise ValueError(
            f"place must be 0 or more and area 1 or more, got {int(place.min())} and {int(area.min())}."
        )
    _one_area_per_group(place[:, 0], area)
    cell = place[:, 1:] // area
    rows, columns = (cell.max(0).values + 1).tolist()
    number = (place[:, 0] * rows + cell[:, 0]) * columns + cell[:, 1]
    return torch.unique(number, return_inverse=True)[1]


def _one_area_per_group(group: Tensor, area: Tensor) -> None:
    """Refuse areas of different sides inside a group: they would overlap."""
    first = area.new_zeros(int(group.max()) + 1, 2)
    first[group] = area
    if not torch.equal(first[group], area):
        wrong = int(group[(first[group] != area).any(1)][0])
        raise ValueError(f"area must be the same for all rows of a group; group {wrong} has several.")


def areas_of(place: Tensor, area: Tensor, segment: Tensor, num_segments: int) -> tuple[Tensor, Tensor]:
    """Collect the area in which every segment stands.

    Args:
        place: group, row and column of each row, int64 [N, 3].
        area: rows and columns of the areas of its group, int64 [N, 2].
        segment: int64 [N], -1 leaves the row out.
        num_segments: M.

    Returns:
        Group, first row, first column, rows and columns of each segment's area, int64 [M, 5], zeros where a segment has
        no row; and for each row whether that is its own area, bool [N], True for rows that are left out.
    """
    own = torch.cat([place[:, :1], place[:, 1:] // area * area, area], dim=1)  # [N, 5]
    areas = own.new_zeros(num_segments + 1, 5)
    areas[segment + 1] = own
    return areas[1:], (areas[segment + 1] == own).all(1) | (segment < 0)


def grid_of(place: Tensor) -> tuple[list[int], str | None]:
    """Read how many groups, rows and columns the grid has, and why rows cannot be looked up on it.

    Places on a GPU make the host wait, once.

    Args:
        place: int64 [N, 3].

    Returns:
        The three numbers; and the obstacle, None where every row can be found by its place.
    """
    if not len(place):
        return [0, 0, 0], None
    shape = place.amax(0) + 1
    cell = _cells(place, shape).sort().values
    shared = (cell[1:] == cell[:-1]).any()
    groups, rows, columns, any_shared = torch.cat([shape, shared.long()[None]]).tolist()
    if groups * rows * columns > MOST_CELLS:
        return [
            groups,
            rows,
            columns,
        ], f"the grid has more than {MOST_CELLS} cells, too many to look rows up in"
    if any_shared:
        return [groups, rows, columns], "two rows stand at one place, where only one can be looked up"
    return [groups, rows, columns], None


def rows_at(place: Tensor, shape: Sequence[int]) -> Tensor:
    """Number of the row that stands at each cell of the grid, int64 [groups * rows * columns], -1 for none."""
    groups, rows, columns = shape
    found = place.new_full((groups * rows * columns,), -1)
    found[_cells(place, shape)] = torch.arange(len(place), device=place.device)
    return found


def spans_of(areas: Tensor, shape: Sequence[int]) -> Tensor:
    """First cell, rows and columns of each area as far as it lies on the grid, int64 [M, 3]."""
    _, rows, columns = shape
    group, top, left, high, wide = areas.unbind(1)
    return torch.stack(
        [(group * rows + top) * columns + left, high.minimum(rows - top), wide.minimum(columns - left)], dim=1
    )


def _cells(place: Tensor, shape: Sequence[int] | Tensor) -> Tensor:
    """Number of the cell at which each row stands, int64 [N], groups one after the other in reading order."""
    return (place[:, 0] * shape[1] + place[:, 1]) * shape[2] + place[:, 2]
