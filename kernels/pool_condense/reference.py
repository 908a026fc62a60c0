"""Which rows make up an area, in integer arithmetic; their mean is segment_merge's reference, the law here too."""

from __future__ import annotations

import torch
from torch import Tensor


def area_segments(place: Tensor, area: Tensor) -> Tensor:
    """Number the areas in which the rows stand.

    Args:
        place: group, row and column of each row, int64 [N, 3], 0 and above.
        area: rows and columns of the areas of its group, int64 [N, 2], at least 1.

    Returns:
        Area of each row, int64 [N], from 0 without gaps, by group, then in reading order.

    Raises:
        ValueError: shapes that do not match, a negative place, an area below 1 or differing inside a group.

    Source: ours.
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
