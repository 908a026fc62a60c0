"""Which cells of a batch of videos enter the tower, as flat index tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from framegate.models.video_tokens import Shape


@dataclass(frozen=True, kw_only=True)
class CellPlan:
    """The gate's decision for all videos of a call, cells in the language model's token order.

    Args:
        keep: bool [N], N cells of all videos, tube by tube, row by row: cells that are encoded.
        anchor: int64 [N], flat index of the encoded cell whose content stands for the cell; -1 never shown.
        shift_patches: float32 [N, 2] (row, column) from a cell to where its anchor's content lies minus the anchor's
            own place, in patches; None when no cell was skipped under motion.
        shapes: tubes, rows and columns of each video.
    """

    keep: torch.Tensor
    anchor: torch.Tensor
    shift_patches: torch.Tensor | None
    shapes: tuple[Shape, ...]

    @property
    def num_kept(self) -> int:
        """Cells that are encoded."""
        return int(self.keep.sum())

    @property
    def cells_per_video(self) -> list[int]:
        """All cells, per video."""
        return [t * h * w for t, h, w in self.shapes]

    @property
    def kept_per_video(self) -> list[int]:
        """Cells that are encoded, per video."""
        return [int(part.sum()) for part in self.keep.split(self.cells_per_video)]

    @property
    def kept_per_tube(self) -> list[int]:
        """Cells that are encoded, per tube of all videos, in order."""
        videos = zip(self.keep.split(self.cells_per_video), self.shapes, strict=True)
        return torch.cat([keep.view(shape[0], -1).sum(1) for keep, shape in videos]).tolist()


def cell_plan(
    anchors: Sequence[npt.NDArray[np.int32]],
    motions: Sequence[npt.NDArray[np.float32] | None],
    *,
    cell_px: int,
    merge_size: int,
) -> CellPlan:
    """Flatten the plans of several videos.

    Args:
        anchors: per video int32 [T, H, W], tube whose content stands for the cell, its own where it is encoded, -1
            never shown.
        motions: per video float32 [T, H, W, 2] (x, y) displacement in pixels, None for none.
        cell_px: side of a cell in pixels.
        merge_size: patches along the side of a cell.
    """
    flats, shifts, start = [], [], 0
    for anchor, motion in zip(anchors, motions, strict=True):
        flat, shift = _flatten(anchor, motion, cell_px, merge_size)
        own = flat == np.arange(flat.size)
        # what a skipped cell points at is encoded, or nothing stands for it
        flats.append(np.where((flat >= 0) & own[flat], flat + start, -1))
        shifts.append(shift)
        start += flat.size
    flat = np.concatenate(flats)
    moved = any(motion is not None and np.any(motion) for motion in motions)
    return CellPlan(
        keep=torch.from_numpy(flat == np.arange(flat.size)),
        anchor=torch.from_numpy(flat),
        shift_patches=torch.from_numpy(np.concatenate(shifts)) if moved else None,
        shapes=tuple((int(t), int(h), int(w)) for t, h, w in (anchor.shape for anchor in anchors)),
    )


def whole_plan(shapes: tuple[Shape, ...]) -> CellPlan:
    """Make every cell of videos a token of its own, as they have when nothing is skipped."""
    every = torch.ones(sum(t * h * w for t, h, w in shapes), dtype=torch.bool)
    return CellPlan(keep=every, anchor=torch.arange(len(every)), shift_patches=None, shapes=shapes)


def _flatten(
    anchor: npt.NDArray[np.int32], motion: npt.NDArray[np.float32] | None, cell_px: int, merge_size: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Cell in which the content of each cell's middle lies, flat int64 [N], and the way there in patches [N, 2]."""
    tubes, height, width = anchor.shape
    rows, columns = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    if motion is None:
        motion = np.zeros((tubes, height, width, 2), dtype=np.float32)
    # The content of a skipped cell's centre lies at centre + motion in the anchor's tube.
    row = np.clip(np.floor(rows + 0.5 + motion[..., 1] / cell_px), 0, height - 1).astype(np.int64)
    column = np.clip(np.floor(columns + 0.5 + motion[..., 0] / cell_px), 0, width - 1).astype(np.int64)
    flat = np.where(anchor >= 0, (anchor * height + row) * width + column, -1)
    shift = motion[..., ::-1] / cell_px * merge_size  # [T, H, W, (row, column)]
    return flat.reshape(-1), np.ascontiguousarray(shift.reshape(-1, 2), dtype=np.float32)
