"""Towers that take each frame as a row of a batch, whose kept patches attend one another alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from framegate.kernels.backend import Backend
from framegate.models.cell_plan import CellPlan
from framegate.models.mechanism import Encoded
from framegate.models.towers.offloaded import device_for
from framegate.models.towers.reordered import ReorderedTower
from framegate.models.transformers_private import patch_places


class FramewiseTower(ReorderedTower):
    """A tower of batches of frames, of one model; a frame is as long as it has kept patches."""

    def frames(self, patches: Tensor, places: Tensor) -> Tensor:
        """Run frames of as many kept patches each, and pool them: [f, n, C * p * p] -> [f, n / patches of a cell, D].

        `places`, int64 [f, n, 2], are row and column of each patch.
        """
        raise NotImplementedError

    def encode(
        self, pixels: Tensor, call: dict[str, Any], cells: CellPlan, *, anchored: bool, backend: Backend
    ) -> Encoded:
        """Features of the kept cells in token order; frames with as many kept cells go together."""
        assert not anchored, "stands aside"
        layout, at = self.layout, device_for(self.tower, pixels)
        dense = patch_places(call["video_grid_thw"].cpu(), layout.merge_size)  # [N, 2]
        places = dense[cells.keep.repeat_interleave(layout.patches_per_cell)].to(at)
        rows, done, order = pixels.to(at, self.tower.dtype), [], []
        for starts, length in spans_alike(cells.kept_per_tube):
            of_cells = torch.from_numpy(starts)[:, None] + torch.arange(length)  # [f, cells]
            of_rows = of_cells[..., None] * layout.patches_per_cell + torch.arange(layout.patches_per_cell)
            index = of_rows.flatten(1).to(at)  # [f, patches]
            done.append(self.frames(rows[index], places[index]).flatten(0, 1))
            order.append(of_cells.flatten())
        return Encoded([torch.cat(done)[torch.cat(order).argsort().to(at)]], None)


def spans_alike(lengths: list[int]) -> list[tuple[np.ndarray[Any, np.dtype[np.int64]], int]]:
    """Starts of the spans of each length, those of one length together; empty spans left out."""
    counts = np.asarray(lengths, dtype=np.int64)
    starts = np.cumsum(counts) - counts
    return [(starts[counts == length], int(length)) for length in np.unique(counts[counts > 0])]
