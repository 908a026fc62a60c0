"""The decisions on a whole clip, and the replay that judges them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from framegate.tokenizers.gate.areas.levels import BoolArray, Int8Array, covered_by
from framegate.tokenizers.gate.config import Metric
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.residual import FloatArray, mad, residual_of, squared_error
from framegate.tokenizers.gate.scan import TubeDecision
from framegate.tokenizers.gate.shown import ShownContent, ring_tubes_for
from framegate.types import UInt8Array


@dataclass(frozen=True, kw_only=True)
class GateRun:
    """What was decided on every tube.

    Args:
        scale: side, in cells, of the token encoded at each representative cell, int8 [T, H, W]; 0 elsewhere.
        residual: what cells differed by from what was shown, float32 [T, H, W]; 0 in the first tube.
        moved: skipped cells that follow the camera, bool [T, H, W].
        motion: float32 [T, k, 2, 3], the camera's motion from each tube to the one before; identity where not
            used.
        notes: what stood aside or was relaxed, and why.
    """

    scale: Int8Array
    residual: FloatArray
    moved: BoolArray
    motion: FloatArray
    notes: tuple[str, ...] = ()

    @cached_property
    def keep(self) -> BoolArray:
        """Cells at which a token is encoded, bool [T, H, W]."""
        return self.scale > 0

    @cached_property
    def covered(self) -> BoolArray:
        """Cells whose content is encoded by a token of any side, bool [T, H, W]."""
        return covered_by(self.scale)

    @property
    def num_kept(self) -> int:
        """Tokens that are encoded."""
        return int(np.count_nonzero(self.scale))


def still_motion(tubes: int, grid: CellGrid) -> FloatArray:
    """No motion at all: identity maps, float32 [T, k, 2, 3]."""
    return np.tile(np.eye(2, 3, dtype=np.float32), (tubes, grid.tube_frames, 1, 1))


def still_run(scale: BoolArray | Int8Array, grid: CellGrid) -> GateRun:
    """Wrap a choice of tokens, sides or cells [T, H, W], that no camera moves; residuals are not measured yet."""
    return GateRun(
        scale=scale.astype(np.int8),
        residual=np.zeros(scale.shape, np.float32),
        moved=np.zeros(scale.shape, bool),
        motion=still_motion(len(scale), grid),
    )


def record(decisions: Sequence[TubeDecision], grid: CellGrid) -> GateRun:
    """Put the decisions of a scan side by side."""
    motion = still_motion(len(decisions), grid)
    for tube, decision in enumerate(decisions):
        if decision.motion is not None:
            motion[tube] = decision.motion
    return GateRun(
        scale=np.stack([decision.scale for decision in decisions]),
        residual=np.stack([decision.residual for decision in decisions]),
        moved=np.stack([decision.moved for decision in decisions]),
        motion=motion,
    )


def whole_run(tubes: Iterable[UInt8Array], grid: CellGrid) -> GateRun:
    """Encode everything: uint8 [k, h, w] tubes in, read once; residuals (mean difference) against the tube before."""
    residual: list[FloatArray] = []
    before: UInt8Array | None = None
    for tube in tubes:
        residual.append(mad(tube, tube if before is None else before, grid))
        before = tube
    run = still_run(np.ones((len(residual), grid.rows, grid.columns), np.int8), grid)
    return replace(run, residual=np.stack(residual))


def replayed(luma: UInt8Array, grid: CellGrid, run: GateRun, metric: Metric) -> tuple[GateRun, float]:
    """Show a clip by its decisions.

    Args:
        luma: uint8 [T, k, h, w].
        grid: geometry of these frames.
        run: decisions; motion in pixels of these frames.
        metric: what the residual is measured by.

    Returns:
        The run with the residuals its decisions lead to, and the squared error of all that is shown.

    Source: ours.
    """
    shown = ShownContent(grid, ring_tubes=ring_tubes_for(grid) if run.moved.any() else 0)
    measure, residual, error = residual_of(metric), np.zeros(run.scale.shape, np.float32), 0.0
    for tube, frames in enumerate(luma):
        moved = run.moved[tube]
        camera = shown.predict(run.motion[tube]) if moved.any() else None
        if tube:
            residual[tube] = measure(frames, shown.picture, grid)
        if camera is not None:
            residual[tube] = np.where(moved, measure(frames, camera.picture, grid), residual[tube])
        shown.commit(frames, run.scale[tube], camera, moved)
        error += squared_error(frames, shown.picture)
    return replace(run, residual=residual), error
