"""The gate by a rival's rule, over a whole clip or tube by tube."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from framegate.errors import BudgetError
from framegate.tokenizers.cell_rules import random, uniform_frames
from framegate.tokenizers.cell_rules.registry import Scores, cell_scores, distance_of
from framegate.tokenizers.cell_rules.top import top
from framegate.tokenizers.gate.areas.levels import BoolArray
from framegate.tokenizers.gate.budget import Budget
from framegate.tokenizers.gate.config import GateConfig
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.plan import GatePlan
from framegate.types import UInt8Array


def ruled_run(tubes: Iterable[UInt8Array], grid: CellGrid, config: GateConfig, budget: Budget) -> GatePlan:
    """Decide which cells of a clip are encoded by the rule that the configuration names.

    Args:
        tubes: uint8 [k, h, w, 3] RGB where the rule compares; else any pixels, which are only counted. Read once.
        grid: geometry of the frames.
        config: rule, threshold and seed.
        budget: what may be kept; without one the threshold decides.

    Returns:
        The decisions. A budget is met exactly, ties go to the earlier cell; only "uniform_frames" stays below it where
        it fills no whole tube, and notes it. A skipped cell's anchor is the last kept one at its place.

    Raises:
        BudgetError: the budget is less than one token, or for "uniform_frames" less than one tube.

    Source: each rule names its own; exact budgets: ours.
    """
    if config.rule == "uniform_frames":
        return _whole_tubes((_count(tubes), grid.rows, grid.columns), grid, budget)
    if config.compares:
        scores: Scores = cell_scores(config.rule, map(grid.cells_of, tubes))
    else:
        scores = random.scores((_count(tubes), grid.rows, grid.columns), seed=config.seed)
    keep, notes = _kept(scores, config, budget)
    residual = np.where(np.isfinite(scores), scores, 0).astype(np.float32)
    return replace(GatePlan.still(keep, grid), residual=residual, notes=notes)


class RuleScan:
    """Gates tubes as they come by a rule that compares, with its threshold; holds one tube.

    Args:
        grid: geometry of the frames.
        config: rule and threshold.
    """

    def __init__(self, grid: CellGrid, config: GateConfig) -> None:
        self._grid, self._threshold = grid, config.resolved_threshold
        self._distance = distance_of(config.rule)
        self._before: UInt8Array | None = None

    def step(self, tube: UInt8Array) -> GatePlan:
        """Decide on the next tube, uint8 [k, h, w, 3] RGB; the first is encoded whole."""
        cells, before = self._grid.cells_of(tube), self._before
        self._before = cells
        nothing = np.zeros(cells.shape[:2], bool)
        if before is None:
            return GatePlan.of_tube(~nothing, nothing.astype(np.float32), nothing, None, self._grid)
        score = self._distance(before, cells)
        return GatePlan.of_tube(score > self._threshold, score.astype(np.float32), nothing, None, self._grid)


def _count(tubes: Iterable[UInt8Array]) -> int:
    return sum(1 for _ in tubes)


def _kept(scores: Scores, config: GateConfig, budget: Budget) -> tuple[BoolArray, tuple[str, ...]]:
    """The cells above the threshold, or those that the budget pays for."""
    if budget.keep_ratio is not None or not config.has_threshold:
        return top(scores, budget.most(scores.size)), ()
    keep = scores > config.resolved_threshold
    found = int(keep.sum())
    if budget.max_tokens is None or found <= budget.max_tokens:
        return keep, ()
    note = f"max_video_tokens {budget.max_tokens} replaced the threshold, which would have kept {found}"
    return top(scores, budget.max_tokens), (note,)


def _whole_tubes(shape: tuple[int, int, int], grid: CellGrid, budget: Budget) -> GatePlan:
    tokens = budget.most(int(np.prod(shape)))
    if tokens < grid.num_cells:
        raise BudgetError(
            f"The budget is {tokens} tokens, and a tube of this video has {grid.num_cells}: gate.rule 'uniform_frames' "
            "keeps whole tubes, one at least. Raise the budget, or use rule 'rlt' or 'random'."
        )
    keep = uniform_frames.keep(shape, tokens)
    left = tokens - int(keep.sum())
    note = f"uniform_frames keeps whole tubes: {left:,} of {tokens:,} tokens are left unspent"
    return replace(GatePlan.still(keep, grid), notes=(note,) if left else ())
