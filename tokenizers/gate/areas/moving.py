"""Coarse, fine, moved or held: the choice tube by tube, for a camera that moves.

Each tube's errors are weighted by how long its content will be shown, as a first run tells (the idea of x264's
macroblock tree): what many later tubes are drawn from deserves its tokens sooner.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from framegate.tokenizers.gate.areas.holds import Patch, cheapest, scale_of
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.plan import GatePlan
from framegate.tokenizers.gate.residual import squared, squared_error
from framegate.tokenizers.gate.scan import TRY_MOTION_ABOVE, MotionSource
from framegate.tokenizers.gate.shown import Prediction, ShownContent, ring_tubes_for
from framegate.types import BoolArray, Float32Array, UInt8Array

LONGEST_LIFE_TUBES = 30.0


@dataclass(frozen=True, kw_only=True)
class MovingClip:
    """A clip to plan under camera motion.

    Args:
        luma: uint8 [T, k, h, w].
        grid: geometry of these frames.
        scales: sides that tokens may have, rising from 1.
        motion_source: finds the camera's motion, as for GateScan.
        lost: squared error of encoding each cell at each level, float32 [L, T, H, W].
        weight: what a tube's errors count, float32 [T, H, W].
        forced: tubes to cover whole, bool [T], the first among them.
        max_age_tubes: a cell is encoded again after this many tubes, None never.
    """

    luma: UInt8Array
    grid: CellGrid
    scales: tuple[int, ...]
    motion_source: MotionSource
    lost: Float32Array
    weight: Float32Array
    forced: BoolArray
    max_age_tubes: int | None

    @cached_property
    def patch(self) -> Patch:
        """The cells, filled up to whole areas."""
        return Patch.of(self.grid.rows, self.grid.columns, self.scales)

    def run_at(self, price: float) -> tuple[GatePlan, float]:
        """Choose, tube after tube, what costs least in squared error plus price per token.

        Args:
            price: of a token, in squared grey levels.

        Returns:
            The run, its residuals being squared errors of skipping, and the squared error of what it shows.
        """
        shown = ShownContent(self.grid, ring_tubes=ring_tubes_for(self.grid))
        age = np.zeros(self.lost.shape[2:], np.int64)
        decisions: list[GatePlan] = []
        error = 0.0
        for tube, frames in enumerate(self.luma):
            decision, camera = _Choice(self, tube, age, price).made(shown)
            shown.commit(frames, decision.side[0], camera, decision.moved[0] if camera else None)
            age = np.where(decision.covered[0], 0, age) + 1
            decisions.append(decision)
            error += squared_error(frames, shown.picture)
        return GatePlan.stacked(decisions), error

    def weighted_by(self, run: GatePlan) -> MovingClip:
        """The same clip with errors weighted by the lives that contents have in a run."""
        # The root, for what is refreshed at another price lives as long no more.
        weight = np.sqrt(lives(run, self.grid))
        return replace(self, weight=(weight / weight.mean()).astype(np.float32))


@dataclass(frozen=True)
class _Choice:
    """One tube's choice."""

    clip: MovingClip
    tube: int
    age: npt.NDArray[np.int64]
    price: float

    def made(self, shown: ShownContent) -> tuple[GatePlan, Prediction | None]:
        clip, frames = self.clip, self.clip.luma[self.tube]
        skip = squared(frames, shown.picture, clip.grid)
        moved, motion, camera = np.zeros(skip.shape, bool), None, None
        cover = self._cover(skip)
        if self.tube and np.count_nonzero(cover) > TRY_MOTION_ABOVE * cover.size:
            motion = clip.motion_source(self.tube, clip.luma[self.tube - 1], frames)
        if motion is not None:
            camera = shown.predict(motion)
            moving = squared(frames, camera.picture, clip.grid)
            moving[camera.outside] = np.inf
            moved = moving < skip
            skip = np.minimum(skip, moving)
            cover = self._cover(skip)
        moved &= cover == 0
        used = motion if moved.any() else None
        decision = GatePlan.of_tube(scale_of(cover, clip.scales), skip, moved, used, clip.grid)
        return decision, camera if used is not None else None

    def _cover(self, skip: Float32Array) -> npt.NDArray[np.int8]:
        """The side of the token that covers each cell, 0 for skipped ones: [H, W]."""
        clip = self.clip
        rows, columns = skip.shape
        patch = clip.patch
        errors = np.zeros((len(clip.scales) + 1, 1, *patch.real.shape), np.float32)
        errors[:, 0, :rows, :columns] = np.concatenate([skip[None], clip.lost[:, self.tube]])
        errors[:, 0, :rows, :columns] *= clip.weight[self.tube]
        if clip.forced[self.tube]:
            errors[0, 0, :rows, :columns] = np.inf
        elif clip.max_age_tubes is not None:
            errors[0, 0, :rows, :columns][self.age >= clip.max_age_tubes] = np.inf
        price = np.full((1, 1, 1), self.price, np.float32)
        return cheapest(errors[0], errors[1:], price, patch)[0, :rows, :columns]


def lives(run: GatePlan, grid: CellGrid) -> Float32Array:
    """For how many tubes, about, each cell's content is shown, its own included: float32 [T, H, W].

    Counted backwards: a skipped cell hands its life on to where its content lay a tube before, shared between the
    cells there.
    """
    life = np.ones(run.side.shape, np.float32)
    passed_on = ~run.covered
    for tube in range(len(life) - 2, -1, -1):
        later = life[tube + 1] * passed_on[tube + 1]
        moved = run.moved[tube + 1]
        life[tube] += later * ~moved
        if moved.any():
            life[tube] += _drawn_back(later * moved, run.camera_motion[tube + 1, 0], grid)
        np.minimum(life[tube], LONGEST_LIFE_TUBES, out=life[tube])
    return life


def _drawn_back(values: Float32Array, motion: Float32Array, grid: CellGrid) -> Float32Array:
    """Carry values [H, W] along a motion to the tube before, cell by cell."""
    back = cv2.invertAffineTransform(motion.astype(np.float64))
    row, column = np.indices(values.shape)
    x, y = ((place + 0.5) * grid.cell_px - 0.5 for place in (column, row))
    at_x, at_y = (part[0] * x + part[1] * y + part[2] for part in back)
    cell_x, cell_y = (((at + 0.5) / grid.cell_px - 0.5).astype(np.float32) for at in (at_x, at_y))
    drawn: Float32Array = cv2.remap(values, cell_x, cell_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return drawn
