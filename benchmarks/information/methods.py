"""The rivals at equal tokens, on pixels, by the rules of framegate's presets of the same names.

A method takes frames uint8 [F, h, w, 3] at the judged size, a number of tokens and a seed, and gives `Shown`: the same
frames as far as that many tokens can show them. A token is a cell of a tube; its feature is the vector of its pixels. A
skipped cell shows what was last shown there, mid grey if nothing was.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from framegate.tokenizers.cell_rules import cell_rule
from framegate.tokenizers.gate.config import GateConfig
from framegate.tokenizers.gate.grid import CellGrid, smaller_grid
from framegate.tokenizers.gate.planners.rules import RuleScan, best_scored

MID_GREY = 128


@dataclass(frozen=True)
class Tiling:
    """How frames divide into tokens: cells of cell_px, tubes of tube_frames."""

    cell_px: int = 28
    tube_frames: int = 2

    def shape(self, frames):
        """Tubes, rows and columns of cells."""
        count, height, width = frames.shape[:3]
        if count % self.tube_frames or height % self.cell_px or width % self.cell_px:
            raise ValueError(f"{frames.shape} is no whole number of {self}; pad or resize the frames first")
        return count // self.tube_frames, height // self.cell_px, width // self.cell_px

    def cells(self, frames):
        """The same memory as [T, H, W, k, cell, cell, channels]."""
        tubes, rows, columns = self.shape(frames)
        split = frames.reshape(tubes, self.tube_frames, rows, self.cell_px, columns, self.cell_px, -1)
        return split.transpose(0, 2, 4, 1, 3, 5, 6)


@dataclass(frozen=True)
class Shown:
    """What a method's tokens show: frames uint8 [F, h, w, 3], and how many tokens it used."""

    frames: np.ndarray
    tokens: int


def held(frames, keep, tiling):
    """Show the kept cells; the others hold what was last shown there."""
    shown = np.full_like(frames, MID_GREY)
    source, target = tiling.cells(frames), tiling.cells(shown)
    for tube, kept in enumerate(keep):
        if tube:
            target[tube] = target[tube - 1]
        target[tube][kept] = source[tube][kept]
    return Shown(shown, int(keep.sum()))


def dense(frames, budget, seed, tiling):
    """All tokens, whatever the budget."""
    return Shown(frames, int(np.prod(tiling.shape(frames))))


def down_scaling(frames, budget, seed, tiling):
    """Every frame at a smaller size, so that the token grid shrinks; at most the budget."""
    tubes, rows, columns = tiling.shape(frames)
    grid = smaller_grid(rows, columns, budget / tubes)
    small = grid[1] * tiling.cell_px, grid[0] * tiling.cell_px
    size = frames.shape[2], frames.shape[1]
    shown = [
        cv2.resize(
            cv2.resize(frame, small, interpolation=cv2.INTER_AREA), size, interpolation=cv2.INTER_CUBIC
        )
        for frame in frames
    ]
    return Shown(np.stack(shown), tubes * grid[0] * grid[1])


def by_rule(name):
    """The method that keeps the cells that a rule chooses, at most the budget."""

    def method(frames, budget, seed, tiling):
        size = {"cell_px": tiling.cell_px, "tube_frames": tiling.tube_frames}
        grid = CellGrid.of(*frames.shape[1:3], **size)
        scan = RuleScan(grid, GateConfig(rule=name, motion="none", seed=seed))
        tubes = frames.reshape(-1, tiling.tube_frames, *frames.shape[1:])
        scores = np.stack([scan.scores(tube) for tube in tubes])
        return held(frames, best_scored(cell_rule(name), scores, budget), tiling)

    return method


METHODS = {
    "dense": dense,
    **{name: by_rule(name) for name in ("random", "uniform_frames")},
    "down_scaling": down_scaling,
    **{name: by_rule(name) for name in ("rlt", "evs", "dtd")},
}
