"""Exact budgets: the plan with the smallest error that encodes just so many cells."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt

from framegate.tokenizers.gate.areas.levels import BoolArray
from framegate.tokenizers.gate.camera_motion import RememberedMotion
from framegate.tokenizers.gate.config import GateConfig, Metric
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.hold_search import WINDOW_TUBES, HoldRules, best_holds, rough_error
from framegate.tokenizers.gate.plan import GatePlan
from framegate.tokenizers.gate.replay import replayed
from framegate.tokenizers.gate.residual import Residual, residual_of
from framegate.tokenizers.gate.scan import GateRules, GateScan
from framegate.types import UInt8Array

THRESHOLD_STEPS = 1025
# Judged on luma, at half resolution: a smaller gain may be a loss in colour.
CAMERA_GAIN = 0.95
CLOSE_ENOUGH, CENTRE_OF_CLOSE = 0.98, 0.99
# What the quick search is content with: fewer runs, shorter windows, no second plan where the first wins plainly.
QUICKLY_CLOSE = 0.9
QUICK_WINDOW_TUBES = 32
PLAIN_GAIN = 0.8
PROBED_TUBES = 8
MOTION_SHARE = 0.6
# Counts fall about as threshold ** -0.85 on pans; two runs tell a clip's own steepness, kept within reason.
USUAL_STEEPNESS = 0.85
STEEPNESS_RANGE = (0.25, 4.0)
Progress = Callable[[float], None]
Judged = tuple[GatePlan, float]
THRESHOLD_RANGE: dict[Metric, tuple[float, float]] = {
    "mad": (0.125, 255.0),
    "ssim": (1e-5, 2.0),
    "l2": (1e-3, 1e4),
}


def untold(_share: float) -> None:
    """Nobody asked how far the search is."""


def exact_run(
    luma: UInt8Array,
    grid: CellGrid,
    config: GateConfig,
    budget_cells: int,
    forced: BoolArray,
    motion_source: RememberedMotion,
    progress: Progress = untold,
) -> Judged:
    """Plan a clip so that exactly `budget_cells` cells are encoded.

    The budget comes first, then the first tube, then cuts, then max_age_tubes. Plans with and without
    camera motion compete by the squared error of what is shown; motion must win by 5 %, so it never makes a clip worse.

    Args:
        luma: uint8 [T, k, h, w], weighted as the gate judges it.
        grid: geometry of these frames.
        config: metric, reference, motion and rules; its threshold and weight are not used.
        budget_cells: cells to encode, at least 1, fewer than all.
        forced: tubes to encode whole, bool [T], the first among them.
        motion_source: the camera's motion between plain tubes.
        progress: told what share of the search is about done.

    Returns:
        The plan, whose notes name rules that the budget did not leave room for, and the squared error of what it shows.
    """
    measure = residual_of(config.metric, config.residual_pool)
    if budget_cells <= grid.num_cells:
        first = first_tube_only(luma, grid, config, budget_cells, forced)
        return replayed(luma, grid, first, measure)
    forced, config, notes = affordable_rules(config, budget_cells, grid.num_cells, forced)
    task = _Task(luma, grid, config, budget_cells, forced, progress)
    moving = task.with_motion(motion_source) if config.motion == "camera" else None
    progress(MOTION_SHARE)
    if moving is None or not task.motion_wins_plainly(moving[1]):
        still = task.without_motion()
        if moving is None or moving[1] >= CAMERA_GAIN * still[1]:
            moving = still
    return replace(moving[0], notes=notes), moving[1]


def _notes_of_one_tube(
    grid: CellGrid, config: GateConfig, budget_cells: int, forced: BoolArray | None
) -> tuple[str, ...]:
    """Say what a budget of one tube or less leaves out."""
    codec = 0 if forced is None else int(forced.sum()) - 1
    notes = [
        f"the budget is {budget_cells} cells and one tube holds {grid.num_cells}: only the first tube is encoded, "
        "its cells of most contrast; later content is not shown"
    ]
    if codec > 0:
        notes.append(f"{codec} codec keyframes stood aside: the budget comes first")
    if config.max_age_tubes is not None:
        notes.append(f"max_age_tubes {config.max_age_tubes} stood aside: the budget comes first")
    return tuple(notes)


def affordable_rules(
    config: GateConfig, budget_cells: int, tube_tokens: int, forced: BoolArray
) -> tuple[BoolArray, GateConfig, tuple[str, ...]]:
    """Relax what the budget leaves no room for: max_age_tubes first, then the codec's keyframes.

    Args:
        config: the rules.
        budget_cells: tokens to encode, at least one tube's.
        tube_tokens: fewest tokens that encode a tube whole.
        forced: tubes to encode whole, bool [T].

    Returns:
        Forced tubes and configuration that fit the budget, and a note on each rule that was relaxed.

    Source: ours.
    """
    room, notes = budget_cells // tube_tokens, []
    if int(forced.sum()) > room:
        dropped = np.flatnonzero(forced)[room:]
        forced = forced.copy()
        forced[dropped] = False
        notes.append(
            f"{len(dropped)} codec keyframes stood aside: the budget has room for {room} whole tubes"
        )
    if config.max_age_tubes is not None and refreshes(forced, config.max_age_tubes) > room:
        ages = range(config.max_age_tubes + 1, len(forced) + 1)
        fitting = next((age for age in ages if refreshes(forced, age) <= room), None)
        relaxed = "stood aside" if fitting is None else f"was relaxed to {fitting}"
        notes.append(f"max_age_tubes {config.max_age_tubes} {relaxed}: the budget comes first")
        config = replace(config, max_age_tubes=fitting)
    return forced, config, tuple(notes)


def refreshes(forced: BoolArray, max_age_tubes: int) -> int:
    """Tubes that are encoded whole when nothing changes."""
    count, age = 0, 0
    for whole in forced:
        age = 0 if whole or age >= max_age_tubes else age
        count += age == 0
        age += 1
    return count


def first_tube_only(
    luma: UInt8Array,
    grid: CellGrid,
    config: GateConfig,
    budget_cells: int,
    forced: BoolArray | None = None,
) -> GatePlan:
    """Less than one tube: the cells of the first with the most contrast, ties to the earlier one.

    Args:
        luma: uint8 [T, k, h, w]; only the first tube's pixels are read.
        grid: geometry of these frames.
        config: the rules, for the notes.
        budget_cells: cells to encode, at most those of a tube.
        forced: tubes to encode whole, bool [T], for the notes; None for the first alone.

    Returns:
        The run, residuals not measured, with notes on what the budget leaves out.

    Source: ours.
    """
    contrast = grid.cells_of(luma[0]).reshape(grid.num_cells, -1).astype(np.float32).std(axis=1)
    keep = np.zeros((len(luma), grid.rows, grid.columns), bool)
    keep[0].flat[np.argsort(-contrast, kind="stable")[:budget_cells]] = True
    notes = _notes_of_one_tube(grid, config, budget_cells, forced)
    return replace(GatePlan.still(keep, grid), notes=notes)


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

    @property
    def quick(self) -> bool:
        return self.config.search == "quick"

    @property
    def holds(self) -> HoldRules:
        return HoldRules(
            forced=self.forced,
            max_age_tubes=self.config.max_age_tubes,
            keyframe_fraction=self.config.keyframe_fraction,
            residual_pool=self.config.residual_pool,
            window_tubes=QUICK_WINDOW_TUBES if self.quick else WINDOW_TUBES,
        )

    @property
    def goes_by_holds(self) -> bool:
        """True where the plan of a still camera is the best holds, not the best threshold."""
        return self.config.metric == "mad" and self.config.reference == "anchor"

    def judged(self, plan: GatePlan) -> Judged:
        """The plan with its budget spent, and the squared error of what it shows."""
        return replayed(self.luma, self.grid, filled(plan, self.budget), self.measure)

    def with_motion(self, motion_source: RememberedMotion) -> Judged | None:
        """The plan under camera motion; None where nothing moves."""
        if self.quick and not motion_source.moves(every=PROBED_TUBES):
            return None
        plan = self.searched(motion_source)
        return self.judged(plan) if plan.moved.any() else None

    def without_motion(self) -> Judged:
        """The plan without camera motion."""
        if not self.goes_by_holds:
            return self.judged(self.searched(None))
        keep = best_holds(self.luma, self.grid, self.budget, self.holds)
        plan, error = replayed(self.luma, self.grid, GatePlan.still(keep, self.grid), self.measure)
        return (plan, error) if plan.num_kept == self.budget else self.judged(plan)

    def motion_wins_plainly(self, error: float) -> bool:
        """True where a quick search need not plan for a still camera: a few cells tell about how that would end."""
        if not (self.quick and self.goes_by_holds):
            return False
        return error < PLAIN_GAIN * rough_error(self.luma, self.grid, self.budget, self.holds)

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
            steps = zip(self.luma, self.forced, strict=True)
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
        close = QUICKLY_CLOSE if self.quick else CLOSE_ENOUGH
        return largest_within(run_at, thresholds, self.budget, start, close_enough=close)


def largest_within(
    run_at: Callable[[float], GatePlan],
    thresholds: npt.NDArray[np.float64],
    budget_cells: int,
    start: int,
    *,
    close_enough: float = CLOSE_ENOUGH,
) -> GatePlan:
    """Search a geometric grid of thresholds for the run that uses the budget up.

    Args:
        run_at: the run at a threshold; at the highest of the grid it must fit the budget.
        thresholds: rising, float64 [N].
        budget_cells: most cells a run may keep.
        start: index to begin at.
        close_enough: share of the budget that a run must keep to be taken at once.

    Returns:
        The first run found that is close enough, else the one with the lowest threshold tried above the crossing.
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
        if close_enough * budget_cells <= run.num_kept <= budget_cells:
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


def filled(run: GatePlan, budget_cells: int) -> GatePlan:
    """Spend what is left on the skipped cells with the highest residual, ties to the earlier one."""
    left = budget_cells - run.num_kept
    assert left >= 0
    if left == 0:
        return run
    side = run.side.copy()
    side.flat[highest(np.where(run.keep, -1.0, run.residual), left)] = 1
    return replace(run, side=side, moved=run.moved & (side == 0))


def highest(scores: npt.NDArray[np.floating], count: int) -> npt.NDArray[np.intp]:
    """Flat indices of the highest scores, ties to the lower index."""
    return np.argsort(-scores, axis=None, kind="stable")[:count]
