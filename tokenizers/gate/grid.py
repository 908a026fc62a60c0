"""The geometry every part of the gate shares: cells, tubes, the blocks that carry motion, and how large frames are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from framegate.errors import BudgetError, FrameError
from framegate.settings import Count, read
from framegate.types import FramePlan, UInt8Array, VideoInfo

MAX_BLOCK_PX = 4
MIN_HALVED_CELL_PX = 16


@dataclass(frozen=True, kw_only=True)
class CellGrid:
    """How frames divide into tubes and cells.

    Args:
        cell_px: side of a cell.
        tube_frames: frames of a tube.
        height_px: height of a frame, a multiple of cell_px.
        width_px: width of a frame, a multiple of cell_px.
        block_px: side of the blocks that move as one under camera motion; divides cell_px.
    """

    cell_px: int
    tube_frames: int
    height_px: int
    width_px: int
    block_px: int

    @classmethod
    def of(cls, height_px: int, width_px: int, *, cell_px: int, tube_frames: int) -> CellGrid:
        """Lay a grid over frames.

        Raises:
            FrameError: cell_px or tube_frames below 1, or frames that are no whole number of cells.
        """
        if cell_px < 1 or tube_frames < 1:
            raise FrameError(
                f"cell_px is {cell_px} and tube_frames is {tube_frames}; both must be at least 1."
            )
        if min(height_px, width_px) < cell_px or height_px % cell_px or width_px % cell_px:
            raise FrameError(
                f"Frames of {width_px} x {height_px} px are no whole number of {cell_px}-px cells; resize them to "
                f"multiples of {cell_px}, at least {cell_px} x {cell_px} px."
            )
        block_px = max(size for size in range(1, MAX_BLOCK_PX + 1) if cell_px % size == 0)
        return cls(
            cell_px=cell_px,
            tube_frames=tube_frames,
            height_px=height_px,
            width_px=width_px,
            block_px=block_px,
        )

    @property
    def rows(self) -> int:
        """Cells from top to bottom, H."""
        return self.height_px // self.cell_px

    @property
    def columns(self) -> int:
        """Cells from left to right, W."""
        return self.width_px // self.cell_px

    @property
    def num_cells(self) -> int:
        """Cells of one tube, H * W."""
        return self.rows * self.columns

    @property
    def block_shape(self) -> tuple[int, int, int]:
        """Blocks of a tube: [k, rows, columns]."""
        return self.tube_frames, self.height_px // self.block_px, self.width_px // self.block_px

    @property
    def can_halve(self) -> bool:
        """True when budgets may be planned at half resolution: cells stay whole and large enough to judge."""
        return self.cell_px >= MIN_HALVED_CELL_PX and self.cell_px % 2 == 0 and self.block_px % 2 == 0

    def halved(self) -> CellGrid:
        """Return the same cells over frames of half the size."""
        assert self.can_halve
        return replace(
            self,
            cell_px=self.cell_px // 2,
            height_px=self.height_px // 2,
            width_px=self.width_px // 2,
            block_px=self.block_px // 2,
        )

    def cells_of(self, tube: UInt8Array) -> UInt8Array:
        """View a tube [k, h, w, ...] by cells, [H, W, k, cell, cell, ...]; writing to it writes to the tube."""
        cell = self.cell_px
        split = tube.reshape(-1, self.rows, cell, self.columns, cell, *tube.shape[3:])  # [k, H, c, W, c]
        return split.transpose(1, 3, 0, 2, 4, *range(5, split.ndim))  # [H, W, k, c, c]

    def blocks_of(self, cells: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Spread a choice of cells to their blocks: bool [H, W] -> [1, rows of blocks, columns of blocks]."""
        per_cell = self.cell_px // self.block_px
        return cells.repeat(per_cell, axis=0).repeat(per_cell, axis=1)[None]


def tubes_of(frames: Iterable[UInt8Array], tube_frames: int) -> Iterator[UInt8Array]:
    """Group frames into tubes [k, h, w, ...] of their own memory; a last one not full repeats its last frame."""
    waiting: list[UInt8Array] = []
    for frame in frames:
        waiting.append(frame)
        if len(waiting) == tube_frames:
            yield np.stack(waiting)
            waiting = []
    if waiting:
        yield np.stack(waiting + [waiting[-1]] * (tube_frames - len(waiting)))


def grid_for(info: VideoInfo, *, width_px: int, cell_px: int, tube_frames: int) -> CellGrid:
    """Choose the size a video is judged at: about width_px wide, its own aspect, whole cells.

    Raises:
        ConfigError: a length or count that is no whole number of at least 1.
        FrameError: the video, or width_px, is smaller than one cell.
    """
    lengths = (("width_px", width_px), ("cell_px", cell_px), ("tube_frames", tube_frames))
    width_px, cell_px, tube_frames = (read(value, Count, name) for name, value in lengths)
    if min(info.width_px, info.height_px, width_px) < cell_px:
        raise FrameError(
            f"{info.source or 'The frames in memory'}: {info.width_px} x {info.height_px} px, judged {width_px} px "
            f"wide, is smaller than one cell of {cell_px} x {cell_px} px; give larger frames, or a smaller cell_px."
        )
    columns = max(1, round(width_px / cell_px))
    rows = max(1, round(columns * info.height_px / info.width_px))
    return CellGrid.of(rows * cell_px, columns * cell_px, cell_px=cell_px, tube_frames=tube_frames)


def smaller_grid(rows: int, columns: int, cells: float) -> tuple[int, int]:
    """Find the grid of so many cells at most whose coarser side is finest, then the one of most cells.

    Neither rows nor columns are more than at full size; the picture's shape is kept as far as whole cells can.
    BudgetError for less than one cell.

    Source: VTC-Bench (ACL 2026), that plain down-scaling is a strong baseline; the rule is ours.
    """
    if cells < 1:
        raise BudgetError(
            f"The budget is {cells:.2f} tokens per tube, and no grid has fewer than one cell: scaled frames need a "
            "token per tube at least. Raise the budget or sample fewer frames."
        )
    grids = [(row, min(int(cells // row), columns)) for row in range(1, min(rows, int(cells)) + 1)]
    return max(grids, key=lambda grid: (min(grid[0] / rows, grid[1] / columns), grid[0] * grid[1]))


def scaled_px(size_px: tuple[int, int], *, cell_px: int, num_tubes: int, tokens: int) -> tuple[int, int]:
    """Find the size, in whole cells, at which all tubes cost at most so many tokens; BudgetError below one a tube."""
    height, width = size_px
    rows, columns = smaller_grid(height // cell_px, width // cell_px, tokens / num_tubes)
    return rows * cell_px, columns * cell_px


def one_size_notes(frames: FramePlan) -> tuple[str, ...]:
    """Say where a plan asks for frames of several sizes and the gate, which has one grid, judges all at one."""
    if np.all(frames.scale == 1):
        return ()
    return ("the frame plan's scale: not followed here, all frames have one size; a message follows it",)
