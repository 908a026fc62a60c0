"""Exact budgets with tokens of several sides: candidates that compete by the error of what they show."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from framegate.tokenizers.gate.areas.fill import filled
from framegate.tokenizers.gate.areas.levels import level_shape, mark, sums_in
from framegate.tokenizers.gate.areas.moving import MovingClip
from framegate.tokenizers.gate.areas.search import RoughMix, best_mix, rough_mix
from framegate.tokenizers.gate.areas.tables import level_errors, sampled
from framegate.tokenizers.gate.camera_motion import RememberedMotion, scaled
from framegate.tokenizers.gate.clip_tubes import ClipTubes, halved
from framegate.tokenizers.gate.config import Budget, GateConfig
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.hold_search import HoldRules
from framegate.tokenizers.gate.plan import GatePlan
from framegate.tokenizers.gate.planners import Progress
from framegate.tokenizers.gate.planners.optimum import Judged, best_plan
from framegate.tokenizers.gate.replay import replayed
from framegate.tokenizers.gate.residual import mad
from framegate.tokenizers.gate.spending import affordable_rules, highest, refreshes
from framegate.types import BoolArray, Float32Array, UInt8Array

# Under motion counts fall about so with the price, as a power; less from the first run, which has no weights yet.
FIRST_POWER, USUAL_POWER, POWERS = 0.36, 0.5, (0.2, 1.5)
MOVING_TRIES, AIMED_AT, LEAST_SPENT = 4, 0.98, 0.95
# Motion is hopeless where its first run costs, in error and tokens, so much more than a still camera's mix.
HOPELESS_MOTION = 1.25
# What a best mix still gains on its rough estimate, at most.
WORTHWHILE_STILL = 0.85
UNIFORM_DOUBT = 0.95
# A plan at one scale is judged by its own frames only where it may win.
HOPELESS = 0.5


class _Motion:
    """The camera's motion on whole frames, followed once at the resolution of the plan at one scale."""

    def __init__(self, luma: UInt8Array, grid: CellGrid) -> None:
        self.factor = 2 if grid.can_halve else 1
        self.grid = grid.halved() if grid.can_halve else grid
        self.luma = np.stack([halved(tube) for tube in luma]) if grid.can_halve else luma
        self.remembered = RememberedMotion(self.grid, self.luma)

    def __call__(self, tube: int, before: UInt8Array, after: UInt8Array) -> Float32Array | None:
        found = self.remembered(tube, before, after)
        return None if found is None else self.full(found)

    def full(self, motion: Float32Array) -> Float32Array:
        """Carry maps over to whole frames."""
        return scaled(motion, self.factor).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class _Task:
    """What the candidates share."""

    luma: UInt8Array
    grid: CellGrid
    config: GateConfig
    budget: int
    forced: BoolArray
    motion: _Motion

    @property
    def tube_tokens(self) -> int:
        """Fewest tokens that cover a tube."""
        return int(np.prod(level_shape(self.grid.rows, self.grid.columns, self.config.scales[-1])))

    def judged(self, run: GatePlan) -> Judged:
        """The run with residuals, and the squared error of what it shows."""
        return replayed(self.luma, self.grid, run, mad)


def plan(clip: ClipTubes, config: GateConfig, budget: Budget, progress: Progress) -> GatePlan:
    """Meet an exact budget with tokens that stand for one cell or an area of cells each.

    The plan at one scale, the best mix of a still camera, one under camera motion and every tube at one level compete
    by the squared error of what they show, so that scales never make a clip worse. The clip is held at full resolution:
    what coarse tokens lose must be seen.
    """
    luma, grid = clip.luma, clip.planning_grid
    task = _Task(
        luma=luma,
        grid=grid,
        config=config,
        budget=budget.most(clip.num_cells),
        forced=clip.forced,
        motion=_Motion(luma, grid),
    )
    base, least_error = _one_scale(task, lambda share: progress(share / 2))
    mixed = _first_tube(task) if task.budget < task.tube_tokens else _mixed(task, base)
    best = min(mixed, key=lambda judged: judged[1], default=None)
    if best is not None and best[1] < HOPELESS * least_error:
        return best[0]
    judged = task.judged(base)
    return judged[0] if best is None or judged[1] <= best[1] else best[0]


def _one_scale(task: _Task, progress: Progress) -> Judged:
    """The plan at one scale, as it is made without others, and about the least squared error that it can have."""
    config, motion = replace(task.config, scales=(1,)), task.motion
    run, error = best_plan(
        motion.luma, motion.grid, config, task.budget, task.forced, motion.remembered, progress=progress
    )
    # The mean of a block squared is at most the mean of its squares.
    full = replace(run, grid=task.grid, camera_motion=motion.full(run.camera_motion))
    return full, error * motion.factor**2


def _first_tube(task: _Task) -> list[Judged]:
    """Less than the fewest tokens of one tube: its areas of most contrast, at each level."""
    contrast = task.grid.cells_of(task.luma[0]).reshape(task.grid.rows, task.grid.columns, -1).var(axis=2)
    note = f"the budget is {task.budget} tokens: only parts of the first tube are encoded, nothing of later content"
    found = []
    for side in task.config.scales[1:]:
        total = sums_in(contrast, side)
        areas = np.zeros(total.shape, bool)
        areas.flat[highest(total, task.budget)] = True
        scale = np.zeros((len(task.luma), *contrast.shape), np.int8)
        mark(scale[0], areas, side)
        run, error = task.judged(GatePlan.still(scale, task.grid))
        found.append((replace(run, notes=(note,)), error))
    return found


def _mixed(task: _Task, base: GatePlan) -> list[Judged]:
    """Plans that use all scales."""
    forced, config, notes = affordable_rules(task.config, task.budget, task.tube_tokens, task.forced)
    task = replace(task, config=config, forced=_with_cuts(task, config, forced, base))
    samples = sampled(task.luma, task.grid, config.scales)
    lost = level_errors(samples)
    rules = HoldRules(
        forced=task.forced, max_age_tubes=config.max_age_tubes, keyframe_fraction=config.keyframe_fraction
    )
    rough, found = rough_mix(samples, config.scales, task.budget, rules), []
    if _may_move(task) and (moving := _moving(task, lost, rough)) is not None:
        found += _spent(task, moving, lost, measured=True)
    if WORTHWHILE_STILL * rough.error < min((error for _, error in found), default=np.inf):
        scale = best_mix(samples, config.scales, task.budget, rules, rough.price)
        found += _spent(task, GatePlan.still(scale, task.grid), lost)
    for level, side in enumerate(config.scales[1:], start=1):
        if UNIFORM_DOUBT * lost[level].sum(dtype=np.float64) < min(
            (error for _, error in found), default=np.inf
        ):
            found += _spent(task, _uniform(task, side), lost)
    return [(replace(run, notes=notes), error) for run, error in found]


def _spent(task: _Task, run: GatePlan, lost: Float32Array, *, measured: bool = False) -> list[Judged]:
    """The run with its budget spent, judged; nothing where that fails. `measured` runs bring their residuals."""
    if run.num_kept > task.budget:
        return []
    if run.num_kept < task.budget and not measured:
        run, _ = task.judged(run)
    full = filled(run, task.budget, task.config.scales, lost, task.forced)
    return [] if full is None else [task.judged(full)]


def _uniform(task: _Task, side: int) -> GatePlan:
    """Every tube whole at one level."""
    scale = np.zeros((len(task.luma), task.grid.rows, task.grid.columns), np.int8)
    mark(scale, np.ones((len(scale), *level_shape(*scale.shape[1:], side)), bool), side)
    return GatePlan.still(scale, task.grid)


def _may_move(task: _Task) -> bool:
    """Whether camera motion is worth a plan: allowed, and found where the plan at one scale looked for it."""
    if task.config.motion == "none":
        return False
    return task.motion.remembered.found_motion or task.budget <= task.grid.num_cells


def _moving(task: _Task, lost: Float32Array, rough: RoughMix) -> GatePlan | None:
    """The plan under camera motion that uses the budget up; None where it would not be better than a still one."""
    clip = MovingClip(
        luma=task.luma,
        grid=task.grid,
        scales=task.config.scales,
        motion_source=task.motion,
        lost=lost,
        weight=np.ones(lost.shape[1:], np.float32),
        forced=task.forced,
        max_age_tubes=task.config.max_age_tubes,
    )
    first, error = clip.run_at(rough.price)
    if error + rough.price * first.num_kept > HOPELESS_MOTION * (rough.error + rough.price * task.budget):
        return None
    return _spending(clip.weighted_by(first), task.budget, rough.price, first)


def _spending(clip: MovingClip, budget: int, price: float, before: GatePlan) -> GatePlan | None:
    """The run that spends most within the budget, of a few at prices that approach it; None where all spend more.

    Counts are taken for a power of the price, at first a usual one, then that of the last two runs.
    """
    power, kept, best = FIRST_POWER, before.num_kept, None
    for turn in range(MOVING_TRIES):
        step = float(np.log(kept / (AIMED_AT * budget)) / power)
        price *= float(np.exp(step))
        run = clip.run_at(price)[0]
        if run.num_kept <= budget and (best is None or run.num_kept > best.num_kept):
            best = run
        if LEAST_SPENT * budget <= run.num_kept <= budget:
            break
        power = float(np.clip(np.log(kept / run.num_kept) / step, *POWERS)) if turn and step else USUAL_POWER
        kept = run.num_kept
    return best


def _with_cuts(task: _Task, config: GateConfig, forced: BoolArray, base: GatePlan) -> BoolArray:
    """Force the cuts too that the plan at one scale encodes whole, as long as the budget has room."""
    forced = forced.copy()
    for tube in np.flatnonzero(base.keep.all(axis=(1, 2)) & ~forced):
        forced[tube] = True
        used = refreshes(forced, config.max_age_tubes or len(forced))
        if used * task.tube_tokens > task.budget:
            forced[tube] = False
            break
    return forced
