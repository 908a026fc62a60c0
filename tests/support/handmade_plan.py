"""A gate plan made by hand, for tests of what reads plans: GatePlan's face, easy to check by eye."""

from dataclasses import dataclass, field

import numpy as np

from framegate.types import FramePlan


@dataclass
class HandmadePlan:
    source: np.ndarray  # [F, h, w, 3]
    keep: np.ndarray  # [T, H, W]
    timestamps_seconds: np.ndarray  # [T]
    keyframes: np.ndarray  # [T]
    motion_px: np.ndarray  # [T, H, W, 2]
    notes: list[str] = field(default_factory=list)
    frames: FramePlan | None = None
    end_seconds: float | None = None

    cell_px = 28

    @property
    def num_cells(self):
        return self.keep.size

    @property
    def num_kept(self):
        return int(self.keep.sum())

    @property
    def tube_frames(self):
        return len(self.source) // len(self.keep)

    def iter_source(self):
        return iter(np.split(self.source, len(self.keep)))

    def iter_reconstruction(self):
        return iter(np.split(self.reconstruct(), len(self.keep)))

    def reconstruct(self):
        cells = np.repeat(np.repeat(self.keep, 28, axis=1), 28, axis=2)  # [T, h, w]
        shown, size = self.source.copy(), len(self.source) // len(self.keep)
        for index in range(size, len(shown)):
            skipped = ~cells[index // size]
            shown[index][skipped] = shown[index - size][skipped]
        return shown


def handmade_plan(source, *, threshold=4.0, fps=10.0, tube_frames=1, start_seconds=0.0):
    """Gate frames uint8 [F, h, w, 3] by the mean difference with the last kept content of each cell."""
    luma = source[::tube_frames].mean(-1)  # [T, h, w]
    tubes, height, width = luma.shape
    cells = luma.reshape(tubes, height // 28, 28, width // 28, 28).swapaxes(2, 3)  # [T, H, W, 28, 28]
    anchor, keep = cells[0].copy(), np.ones(cells.shape[:3], bool)
    keyframes = np.zeros(tubes, bool)
    keyframes[0] = True
    for tube in range(1, tubes):
        keep[tube] = np.abs(cells[tube] - anchor).mean((2, 3)) > threshold
        if keep[tube].mean() > 0.8:
            keep[tube], keyframes[tube] = True, True
        anchor[keep[tube]] = cells[tube][keep[tube]]
    times = start_seconds + np.arange(tubes) * tube_frames / fps
    return HandmadePlan(source, keep, times, keyframes, np.zeros((*keep.shape, 2)))
