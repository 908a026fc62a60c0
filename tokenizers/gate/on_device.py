"""The plain gate where the pixels are: a kernel scans all tubes, nothing waits until the decisions are fetched."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from framegate.kernels.anchor_scan import anchor_scan
from framegate.kernels.backend import Backend
from framegate.kernels.block_residual import block_residual
from framegate.tokenizers.gate.config import Budget, GateConfig
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.plan import GatePlan
from framegate.tokenizers.gate.planners.threshold import STRIDE, opened, threshold_table
from framegate.tokenizers.gate.spending import affordable_rules, first_tube_only


@dataclass(frozen=True)
class Decisions:
    """What was decided, on the device.

    Args:
        keep: bool [T, H, W].
        residual: float32 [T, H, W].
    """

    keep: Tensor
    residual: Tensor


def why_not_on_device(config: GateConfig, budget: Budget) -> str | None:
    """Say what keeps the gate on the CPU, None where it can run on any device with the same decisions."""
    if not config.is_plain:
        return "camera motion, codec keyframes and rules of others are the CPU's"
    has_budget = budget.keep_ratio is not None or budget.max_tokens is not None
    if has_budget and config.search != "threshold":
        return 'the optimum under a budget is the CPU\'s (gate.search "threshold" is not)'
    return None


def device_run(
    luma: Tensor, config: GateConfig, budget: Budget, *, cell_px: int, backend: Backend = "auto"
) -> GatePlan:
    """Decide which cells of a clip are encoded, as `plan_gate` does on the CPU.

    Args:
        luma: uint8 [T, k, h, w], on any device.
        config: a plain gate (`why_not_on_device`).
        budget: what may be kept.
        cell_px: side of a cell.
        backend: "auto", "torch" or "triton".

    Returns:
        The decisions, fetched: the host waits here, once a clip (twice where a cap replaces the threshold).

    Raises:
        BudgetError: the budget is less than one token.
    """
    assert why_not_on_device(config, budget) is None
    tubes, frames, height, width = luma.shape
    grid = CellGrid.of(height, width, cell_px=cell_px, tube_frames=frames)
    cells = budget.exact(tubes * grid.num_cells)
    if cells is not None:
        return _budget_run(luma, grid, config, cells, backend)
    run = _fetched(scanned(luma, grid, config, backend), grid)
    cap = budget.max_tokens
    if cap is None or run.num_kept <= cap:
        return run
    met = _budget_run(luma, grid, config, cap, backend)
    return replace(met, notes=(budget.replaced_threshold(run.num_kept), *met.notes))


def _budget_run(luma: Tensor, grid: CellGrid, config: GateConfig, cells: int, backend: Backend) -> GatePlan:
    tubes = len(luma)
    if cells == tubes * grid.num_cells:
        return _whole_plan(luma, grid, backend)
    if cells <= grid.num_cells:
        first = luma[:1].cpu().numpy()
        return first_tube_only(np.broadcast_to(first, luma.shape), grid, config, cells)
    _, config, notes = affordable_rules(config, cells, grid.num_cells, opened(tubes))
    return replace(_fetched(searched(luma, grid, config, cells, backend), grid), notes=notes)


def _whole_plan(luma: Tensor, grid: CellGrid, backend: Backend) -> GatePlan:
    """Everything is encoded; residuals are mean differences from the tube before."""
    keep = luma.new_ones(len(luma), grid.rows, grid.columns, dtype=torch.bool)
    changes = block_residual(luma[1:], luma[:-1], grid.cell_px, backend=backend)
    residual = torch.cat([changes.new_zeros(1, grid.rows, grid.columns), changes])
    return _fetched(Decisions(keep, residual), grid)


def scanned(luma: Tensor, grid: CellGrid, config: GateConfig, backend: Backend) -> Decisions:
    """The causal gate at the configuration's threshold."""
    threshold = torch.full((1,), config.resolved_threshold, device=luma.device)
    keep, residual = _scan(luma, grid, config, threshold, backend)
    return Decisions(keep[0], residual[0])


def searched(luma: Tensor, grid: CellGrid, config: GateConfig, cells: int, backend: Backend) -> Decisions:
    """Encode exactly `cells` cells (more than a tube's, fewer than all), without a word from device to host."""
    table = torch.from_numpy(threshold_table(config.metric)).to(luma.device, non_blocking=True)
    entries = torch.arange(STRIDE - 1, len(table), STRIDE, device=luma.device)
    keep, _ = _scan(luma, grid, config, table[entries], backend)
    coarse = _picked(entries, _first_fit(keep, cells))
    fine = coarse - STRIDE + 1 + torch.arange(STRIDE, device=luma.device)
    keep, residual = _scan(luma, grid, config, table[fine], backend)
    chosen = _first_fit(keep, cells)
    residual = _picked(residual, chosen)
    return Decisions(_filled(_picked(keep, chosen), residual, cells), residual)


def _picked(rows: Tensor, number: Tensor) -> Tensor:
    """Take the row of a number that only the device knows; plain indexing would read it on the host."""
    return rows.index_select(0, number[None])[0]


def _first_fit(keep: Tensor, cells: int) -> Tensor:
    """Number of the first of K scans [K, T, H, W] that keeps no more than `cells`; the last one always does."""
    counts = keep.flatten(1).sum(1)
    number = torch.arange(len(counts), device=counts.device)
    return torch.where(counts <= cells, number, len(counts) - 1).min()


def _filled(keep: Tensor, residual: Tensor, cells: int) -> Tensor:
    """Spend what is left on the skipped cells with the highest residual, ties to the earlier one."""
    order = torch.where(keep, -1.0, residual).flatten().argsort(descending=True, stable=True)
    rank = torch.empty_like(order).scatter(0, order, torch.arange(len(order), device=order.device))
    return keep | (rank < cells - keep.sum()).reshape(keep.shape)


def _scan(
    luma: Tensor, grid: CellGrid, config: GateConfig, thresholds: Tensor, backend: Backend
) -> tuple[Tensor, Tensor]:
    return anchor_scan(
        luma,
        grid.cell_px,
        thresholds,
        metric=config.metric,
        max_age=config.max_age_tubes,
        keyframe_fraction=config.keyframe_fraction,
        backend=backend,
    )


def _fetched(decisions: Decisions, grid: CellGrid) -> GatePlan:
    keep = decisions.keep.cpu().numpy()
    return replace(GatePlan.still(keep, grid), residual=decisions.residual.cpu().numpy())
