"""Exact budgets: the plan with the smallest error that encodes just so many cells."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt

from framegate.tokenizers.gate.camera_motion import RememberedMotion
from framegate.tokenizers.gate.clip_tubes import ClipTubes
from framegate.tokenizers.gate.config import Budget, GateConfig
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.held_luma import in_turn
from framegate.tokenizers.gate.hold_search import best_holds
from framegate.tokenizers.gate.hold_windows import HoldRules
from framegate.tokenizers.gate.plan import GatePlan
from framegate.tokenizers.gate.planners import Progress
from framegate.tokenizers.gate.replay import replayed
from framegate.tokenizers.gate.residual import THRESHOLD_RANGE, Residual, residual_of
from framegate.tokenizers.gate.scan import GateRules, GateScan
from framegate.tokenizers.gate.spending import affordable_rules, filled, first_tube_only
from framegate.types import BoolArray, UInt8Array

THRESHOLD_STEPS = 1025
# Judged on luma, at half resolution: a smaller gain may be a loss in colour.
CAMERA_GAIN = 0.95
CLOSE_ENOUGH, CENTRE_OF_CLOSE = 0.98, 0.99
MOTION_SHARE = 0.6
# Counts fall about as threshold ** -0.85 on pans; two runs tell a clip's own steepness, kept within reason.
USUAL_STEEPNESS = 0.85
STEEPNESS_RANGE = (0.25, 4.0)
Judged = tuple[GatePlan, float]


def plan(clip: ClipTubes, config: GateConfig, budget: Budget, progress: Progress) -> GatePlan:
    """Meet an exact budget by the plan with the least error.

    The budget comes first, then the first tube, then cuts, then max_age_tubes; notes name rules that it left no room
    for. Plans with and without camera motion compete by the squared error of what is shown; motion must win by 5 %, so
    it never makes a clip worse.
    """
    luma, grid, cells = clip.luma, clip.planning_grid, budget.most(clip.num_cells)
    if cells <= grid.num_cells:
        first = first_tube_only(luma, grid, config, cells, clip.forced)
        measure = residual_of(config.metric, config.residual_pool)
        return clip.on_full_frames(replayed(luma, grid, first, measure)[0])
    forced, config, notes = affordable_rules(config, cells, grid.num_cells, clip.forced)
    task = _Task(luma, grid, config, cells, forced, progress)
    moving = task.with_motion(clip.motion()) if config.motion == "camera" else None
    progress(MOTION_SHARE)
    best = task.without_motion()
    if moving is not None and moving[1] < CAMERA_GAIN * best[1]:
        best = moving
    return clip.on_full_frames(replace(best[0], notes=notes))


@dataclass(frozen=True)
class _Task:
    """A clip, weighted as the gate judges it, and the budget that its plan is to meet."""

    luma: UInt8Array
    grid: CellGrid
    config: GateConfig
    budget: int
    forced: BoolArray
    progress: Progress

    @property
    def measure(self) -> Residual:
        return residual_of(self.config.metric, self.config.residual_pool)

    def judged(self, plan: GatePlan) -> Judged:
        """The plan with its budget spent, and the squared error of what it shows."""
        return replayed(self.luma, self.grid, filled(plan, self.budget), self.measure)

    def with_motion(self, motion_source: RememberedMotion) -> Judged | None:
        """The plan under camera motion; None where nothing moves."""
        plan = self.searched(motion_source)
        return self.judged(plan) if plan.moved.any() else None

    def without_motion(self) -> Judged:
        """The plan without camera motion."""
        if self.config.metric != "mad" or self.config.reference != "anchor":
            return self.judged(self.searched(None))
        rules = HoldRules(
            forced=self.forced,
            max_age_tubes=self.config.max_age_tubes,
            keyframe_fraction=self.config.keyframe_fraction,
            residual_pool=self.config.residual_pool,
        )
        held = GatePlan.still(best_holds(self.luma, self.grid, self.budget, rules), self.grid)
        plan, error = replayed(self.luma, self.grid, held, self.measure)
        if plan.num_kept == self.budget:
            return plan, error
        # residuals are the largest part of a plan: one set of them at a time
        held = replace(held, keep=filled(plan, self.budget).keep)
        del plan
        return replayed(self.luma, self.grid, held, self.measure)

    def searched(self, motion_source: RememberedMotion | None) -> GatePlan:
        """Search a fixed grid of thresholds for a run that keeps nearly as much as the budget allows and no more.

        The anchored gate is not monotone in its threshold, so this finds a crossing, not always the only one; at
        the highest threshold nothing but forced cells is kept, which the rules have made sure fits.
        """

        runs: list[float] = []

        @cache
        def run_at(threshold: float) -> GatePlan:
            rules = replace(GateRules.of(self.config), threshold=threshold, weight="luma")
            scan = GateScan(self.grid, rules, motion_source=motion_source)
            steps = zip(in_turn(self.luma), self.forced, strict=True)
            runs.append(threshold)
            # nobody knows how many runs it takes: each brings the half of what is left
            self.progress(MOTION_SHARE * (1 - 0.5 ** len(runs)))
            return GatePlan.stacked([scan.step(tube, force_keyframe=bool(whole)) for tube, whole in steps])

        thresholds = np.geomspace(*THRESHOLD_RANGE[self.config.metric], THRESHOLD_STEPS)
        start = min(int(np.searchsorted(thresholds, self.config.resolved_threshold)), len(thresholds) - 1)
        if motion_source is not None:
            first = run_at(float(thresholds[start]))
            if not (motion_source.found_motion or first.moved.any()):
                return first
        return largest_within(run_at, thresholds, self.budget, start)


def largest_within(
    run_at: Callable[[float], GatePlan],
    thresholds: npt.NDArray[np.float64],
    budget_cells: int,
    start: int,
) -> GatePlan:
    """Search a geometric grid of thresholds for the run that uses the budget up.

    Args:
        run_at: the run at a threshold; at the highest of the grid it must fit the budget.
        thresholds: rising, float64 [N].
        budget_cells: most cells a run may keep.
        start: index to begin at.

    Returns:
        The first run found that keeps CLOSE_ENOUGH of the budget, else the one with the lowest threshold tried above
        the crossing.
    """
    # The secant method on logarithmic scales. Every third guess inside a bracket is its middle, so that the search ends
    # soon whatever the counts do.
    per_factor = (len(thresholds) - 1) / np.log(thresholds[-1] / thresholds[0])
    low, high, best, guess = -1, len(thresholds) - 1, None, start
    tried: list[tuple[int, float]] = []
    for turn in itertools.count():
        if high - low <= 1:
            return best if best is not None else run_at(float(thresholds[high]))
        middle = min(max(guess, low + 1), high - 1)
        run = run_at(float(thresholds[middle]))
        if CLOSE_ENOUGH * budget_cells <= run.num_kept <= budget_cells:
            return run
        if run.num_kept > budget_cells:
            low = middle
        else:
            high, best = middle, run
        tried.append(
            (middle, per_factor * float(np.log(max(run.num_kept, 1) / (CENTRE_OF_CLOSE * budget_cells))))
        )
        halve = turn % 3 == 2 and best is not None and low >= 0
        guess = (low + high) // 2 if halve else middle + round(tried[-1][1] / _steepness(tried))
    raise AssertionError("the bracket shrinks with every turn")


def _steepness(tried: list[tuple[int, float]]) -> float:
    """How fast the count falls, from the last two (index, logarithm of the count in steps of the grid)."""
    if len(tried) < 2 or tried[-1][0] == tried[-2][0]:
        return USUAL_STEEPNESS
    (first, high), (second, low) = tried[-2:]
    return float(np.clip((high - low) / (second - first), *STEEPNESS_RANGE))
