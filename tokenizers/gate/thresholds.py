"""Budgets by threshold: the causal gate at the lowest threshold of a fixed table that fits, filled up by residual.

The CPU walks through the table with the gate's own scan; `on_device` does the same with a kernel where the pixels are.
Both look at the same entries and take the same one: the gate is not monotone in its threshold, so that another way
through the table could end elsewhere.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from framegate.tokenizers.gate.config import GateConfig, Metric
from framegate.tokenizers.gate.exact import THRESHOLD_RANGE, affordable_rules, filled, first_tube_only
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.plan import GatePlan
from framegate.tokenizers.gate.residual import FloatArray
from framegate.tokenizers.gate.scan import GateRules, GateScan
from framegate.types import UInt8Array

# looked at in two rounds: every so many, then those between the last that did not fit and the first that did
STRIDE = 24


def threshold_table(metric: Metric) -> FloatArray:
    """All thresholds, rising, float32 [STRIDE * STRIDE]; at the last one nothing is above it."""
    return np.geomspace(*THRESHOLD_RANGE[metric], STRIDE * STRIDE).astype(np.float32)


def threshold_run(luma: UInt8Array, grid: CellGrid, config: GateConfig, budget_cells: int) -> GatePlan:
    """Plan a clip so that exactly `budget_cells` cells are encoded.

    Args:
        luma: uint8 [T, k, h, w].
        grid: geometry of these frames.
        config: metric and rules; its threshold is not used.
        budget_cells: cells to encode, at least 1, fewer than all.

    Returns:
        The run, with the residuals of the gate's pass; its notes name rules that the budget did not leave room for.

    Source: ours.
    """
    if budget_cells <= grid.num_cells:
        return first_tube_only(luma, grid, config, budget_cells)
    forced, config, notes = affordable_rules(config, budget_cells, grid.num_cells, opened(len(luma)))
    table = threshold_table(config.metric)

    def first_fit(entries: range) -> tuple[int, GatePlan]:
        for entry in entries:
            run = _scanned(luma, grid, replace(config, threshold=float(table[entry])))
            if run.num_kept <= budget_cells:
                break
        return entry, run

    coarse, _ = first_fit(range(STRIDE - 1, len(table), STRIDE))
    _, run = first_fit(range(coarse - STRIDE + 1, coarse + 1))
    return replace(filled(run, budget_cells), notes=notes)


def opened(tubes: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """No tube is forced but the first, bool [T]."""
    return np.arange(tubes) == 0


def _scanned(luma: UInt8Array, grid: CellGrid, config: GateConfig) -> GatePlan:
    scan = GateScan(grid, GateRules.of(config))
    return GatePlan.stacked([scan.step(tube) for tube in luma])
