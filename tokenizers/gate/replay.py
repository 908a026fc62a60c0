"""A plan shown: the residuals its decisions lead to, and how far what it shows is from the clip."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.held_luma import in_turn
from framegate.tokenizers.gate.plan import GatePlan
from framegate.tokenizers.gate.residual import Residual, mad, squared_error
from framegate.tokenizers.gate.shown import ShownContent, ring_tubes_for
from framegate.types import Float32Array, UInt8Array


def whole_plan(tubes: Iterable[UInt8Array], grid: CellGrid) -> GatePlan:
    """Encode everything: uint8 [k, h, w] tubes in, read once; residuals (mean difference) against the tube before."""
    residual: list[Float32Array] = []
    before: UInt8Array | None = None
    for tube in tubes:
        residual.append(mad(tube, tube if before is None else before, grid))
        before = tube
    plan = GatePlan.still(np.ones((len(residual), grid.rows, grid.columns), bool), grid)
    return replace(plan, residual=np.stack(residual))


def replayed(luma: UInt8Array, grid: CellGrid, plan: GatePlan, measure: Residual) -> tuple[GatePlan, float]:
    """Show a clip by its decisions: the plan with the residuals they lead to, and the squared error of all shown."""
    shown = ShownContent(grid, ring_tubes=ring_tubes_for(grid) if plan.moved.any() else 0)
    residual, error = np.zeros(plan.keep.shape, np.float32), 0.0
    for tube, frames in enumerate(in_turn(luma)):
        moved = plan.moved[tube]
        camera = shown.predict(plan.camera_motion[tube]) if moved.any() else None
        if tube:
            residual[tube] = measure(frames, shown.picture, grid)
        if camera is not None:
            residual[tube] = np.where(moved, measure(frames, camera.picture, grid), residual[tube])
        shown.commit(frames, plan.keep[tube], camera, moved)
        error += squared_error(frames, shown.picture)
    return replace(plan, residual=residual), error
