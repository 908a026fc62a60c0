"""The rivals at equal tokens, written from their papers' descriptions, on pixels.

A method takes frames uint8 [F, h, w, 3] at the judged size, a number of tokens and a seed, and gives `Shown`: the same
frames as far as that many tokens can show them. A token is a cell of a tube; its feature is the vector of its pixels. A
skipped cell shows what was last shown there, mid grey if nothing was.
"""

from dataclasses import dataclass

import cv2
import numpy as np

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


def top(scores, budget):
    """The budget's highest scores as bool [T, H, W]; ties go to the earlier cell."""
    keep = np.zeros(scores.size, bool)
    keep[np.argsort(-scores.ravel(), kind="stable")[:budget]] = True
    return keep.reshape(scores.shape)


def dense(frames, budget, seed, tiling):
    """All tokens, whatever the budget."""
    return Shown(frames, int(np.prod(tiling.shape(frames))))


def random(frames, budget, seed, tiling):
    """Cells drawn without regard to what they show."""
    shape = tiling.shape(frames)
    return held(frames, top(np.random.default_rng(seed).random(shape), budget), tiling)


def uniform_frames(frames, budget, seed, tiling):
    """Whole tubes, evenly spread from the first on; at most the budget."""
    tubes, rows, columns = tiling.shape(frames)
    count = budget // (rows * columns)
    keep = np.zeros((tubes, rows, columns), bool)
    keep[np.arange(count) * tubes // max(count, 1)] = True
    return held(frames, keep, tiling)


def smaller_grid(rows, columns, cells):
    """The grid (rows, columns) of at most so many cells whose coarser side is finest, then the one of most cells."""
    if cells < 1:
        raise ValueError(f"no grid has {cells:.2f} cells; a budget needs one token per tube at least")
    grids = [(row, min(int(cells // row), columns)) for row in range(1, min(rows, int(cells)) + 1)]
    return max(grids, key=lambda grid: (min(grid[0] / rows, grid[1] / columns), grid[0] * grid[1]))


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


def scored(frames, budget, tiling, distance):
    """The first tube, then the cells farthest from the same cell one tube earlier."""
    cells = tiling.cells(frames)
    scores = np.full(cells.shape[:3], np.inf)
    for tube in range(1, len(cells)):
        scores[tube] = distance(cells[tube - 1], cells[tube])
    return held(frames, top(scores, budget), tiling)


def rlt(frames, budget, seed, tiling):
    """Mean absolute difference of the earlier tube's first frame and the later one's last (RLT, arXiv 2411.05222)."""
    return scored(
        frames, budget, tiling, lambda before, after: mean_difference(before[:, :, :1], after[:, :, -1:])
    )


def dtd(frames, budget, seed, tiling):
    """Mean absolute difference of neighbouring tubes (TimeChat-Online's pixel-level DTD, arXiv 2504.17343)."""
    return scored(frames, budget, tiling, mean_difference)


def evs(frames, budget, seed, tiling):
    """One minus the cosine of neighbouring tubes' tokens (EVS, arXiv 2510.14624, as in vLLM)."""
    return scored(frames, budget, tiling, cosine_distance)


def mean_difference(before, after):
    """Mean absolute difference per cell, [H, W]; rows are [H, W, ...] uint8."""
    before, after = (np.ascontiguousarray(cells).reshape(*cells.shape[:2], -1) for cells in (before, after))
    return (
        cv2.absdiff(before.reshape(len(before), -1), after.reshape(len(after), -1))
        .reshape(before.shape)
        .mean(-1)
    )


def cosine_distance(before, after):
    """One minus the cosine per cell, [H, W]; rows are [H, W, ...] uint8."""
    before, after = (cells.reshape(*cells.shape[:2], -1).astype(np.float32) for cells in (before, after))
    norms = np.linalg.norm(before, axis=-1) * np.linalg.norm(after, axis=-1)
    return 1 - np.einsum("hwd,hwd->hw", before, after) / np.maximum(norms, 1e-6)


METHODS = {
    "dense": dense,
    "random": random,
    "uniform_frames": uniform_frames,
    "down_scaling": down_scaling,
    "rlt": rlt,
    "evs": evs,
    "dtd": dtd,
}
