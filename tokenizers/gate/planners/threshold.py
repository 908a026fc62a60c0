"""Budgets by threshold: the causal gate at the lowest threshold of a fixed table that fits, filled up by residual.

The CPU walks through the table with the gate's own scan; `on_device` does the same with a kernel where the pixels are.
Both look at the same entries and take the same one: the gate is not monotone in its threshold, so that another way
through the table could end elsewhere.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from framegate.tokenizers.gate.clip_tubes import ClipTubes
from framegate.tokenizers.gate.config import Budget, GateConfig, Metric
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.held_luma import in_turn
from framegate.tokenizers.gate.plan import GatePlan
from framegate.tokenizers.gate.planners import Progress
from framegate.tokenizers.gate.residual import THRESHOLD_RANGE
from framegate.tokenizers.gate.scan import GateRules, GateScan
from framegate.tokenizers.gate.spending import affordable_rules, filled, first_tube_only
from framegate.types import BoolArray, Float32Array, UInt8Array

# looked at in two rounds: every so many, then those between the last that did not fit and the first that did
STRIDE = 24


def threshold_table(metric: Metric) -> Float32Array:
    """All thresholds, rising, float32 [STRIDE * STRIDE]; at the last one nothing is above it."""
    return np.geomspace(*THRESHOLD_RANGE[metric], STRIDE * STRIDE).astype(np.float32)


def plan(clip: ClipTubes, config: GateConfig, budget: Budget, progress: Progress) -> GatePlan:
    """Meet an exact budget by the lowest threshold that fits, on the whole clip at full resolution."""
    luma, grid, budget_cells = clip.luma, clip.planning_grid, budget.most(clip.num_cells)
    if budget_cells <= grid.num_cells:
        return first_tube_only(luma, grid, config, budget_cells)
    forced, config, notes = affordable_rules(config, budget_cells, grid.num_cells, opened(len(luma)))
    table = threshold_table(config.metric)

    def first_fit(entries: range, *, done: float) -> tuple[int, GatePlan]:
        for number, entry in enumerate(entries):
            progress(done + number / (2 * STRIDE))
            run = _scanned(luma, grid, replace(config, threshold=float(table[entry])))
            if run.num_kept <= budget_cells:
                break
        return entry, run

    coarse, _ = first_fit(range(STRIDE - 1, len(table), STRIDE), done=0.0)
    _, run = first_fit(range(coarse - STRIDE + 1, coarse + 1), done=0.5)
    return replace(filled(run, budget_cells), notes=notes)


def opened(tubes: int) -> BoolArray:
    """No tube is forced but the first, bool [T]."""
    return np.arange(tubes) == 0


def _scanned(luma: UInt8Array, grid: CellGrid, config: GateConfig) -> GatePlan:
    scan = GateScan(grid, GateRules.of(config))
    return GatePlan.stacked([scan.step(tube) for tube in in_turn(luma)])
