"""The gate by another rule than motion, over a whole clip or tube by tube."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from framegate.errors import BudgetError
from framegate.tokenizers.cell_rules import CellRule, cell_rule
from framegate.tokenizers.gate.clip_tubes import ClipTubes
from framegate.tokenizers.gate.config import Budget, GateConfig
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.plan import GatePlan
from framegate.tokenizers.gate.planners import Progress
from framegate.tokenizers.gate.spending import highest
from framegate.types import BoolArray, Float32Array, Float64Array, UInt8Array


def plan(clip: ClipTubes, config: GateConfig, budget: Budget, progress: Progress) -> GatePlan:
    """Decide which cells of a clip are encoded by the rule that the configuration names.

    A budget is met exactly, save where the rule's own way to spend it leaves some over, which a note tells. A skipped
    cell's anchor is the last kept one at its place.

    Raises:
        BudgetError: the budget is less than one token, or less than the least that the rule can keep.
    """
    scan = RuleScan(clip.grid, config)
    scores = np.stack([scan.scores(tube) for tube in clip.read()])
    keep, notes = _kept(scores, config, budget)
    return replace(GatePlan.still(keep, clip.grid), residual=_residual(scores), notes=notes)


class RuleScan:
    """Scores tubes as they come by a rule, and gates them by its threshold; holds one tube.

    Args:
        grid: geometry of the frames.
        config: rule, threshold and seed.
    """

    def __init__(self, grid: CellGrid, config: GateConfig) -> None:
        self._grid, self._config = grid, config
        self._rule, self._rng = cell_rule(config.rule), np.random.default_rng(config.seed)
        self._before: UInt8Array | None = None

    def scores(self, tube: UInt8Array) -> Float64Array:
        """Score the next tube, uint8 [k, h, w, 3] RGB: [H, W], infinite where there is no tube to compare with."""
        cells, before = self._grid.cells_of(tube), self._before
        self._before = cells
        if before is None and self._rule.compares:
            return np.full(cells.shape[:2], np.inf)
        scores = self._rule.score(cells if before is None else before, cells, self._rng)
        return np.asarray(scores, np.float64)

    def step(self, tube: UInt8Array) -> GatePlan:
        """Decide on the next tube, uint8 [k, h, w, 3] RGB, by the threshold; the first is encoded whole."""
        scores = self.scores(tube)
        keep = scores > self._config.resolved_threshold
        return GatePlan.of_tube(keep, _residual(scores), np.zeros(keep.shape, bool), None, self._grid)


def best_scored(rule: CellRule, scores: Float64Array, tokens: int) -> BoolArray:
    """Choose what a budget pays for: the highest scores [T, H, W], ties to the earlier cell, or the rule's choice."""
    if rule.keep is not None:
        return rule.keep(scores, tokens)
    return highest(scores, tokens)


def _kept(scores: Float64Array, config: GateConfig, budget: Budget) -> tuple[BoolArray, tuple[str, ...]]:
    """The cells above the threshold, or those that the budget pays for."""
    if budget.keep_ratio is not None or not config.has_threshold:
        return _paid(scores, config, budget.most(scores.size))
    keep = scores > config.resolved_threshold
    found = int(keep.sum())
    if budget.max_tokens is None or found <= budget.max_tokens:
        return keep, ()
    keep, notes = _paid(scores, config, budget.max_tokens)
    return keep, (budget.replaced_threshold(found), *notes)


def _paid(scores: Float64Array, config: GateConfig, tokens: int) -> tuple[BoolArray, tuple[str, ...]]:
    keep = best_scored(cell_rule(config.rule), scores, tokens)
    left = min(tokens, scores.size) - int(keep.sum())
    if not keep.any():
        raise BudgetError(
            f"The budget is {tokens} tokens, and a tube of this video has {scores[0].size}: gate.rule {config.rule!r} "
            "finds nothing to keep for that. Raise the budget, or use rule 'random' or 'motion'."
        )
    return keep, (f"gate.rule {config.rule!r} leaves {left:,} of {tokens:,} tokens unspent",) if left else ()


def _residual(scores: Float64Array) -> Float32Array:
    return np.where(np.isfinite(scores), scores, 0).astype(np.float32)
