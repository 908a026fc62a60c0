"""The gate over a whole clip: a causal pass, or the plan that meets an exact budget."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np

from framegate.tokenizers.gate.areas.levels import halved
from framegate.tokenizers.gate.areas.planner import mixed_run
from framegate.tokenizers.gate.budget import Budget
from framegate.tokenizers.gate.camera_motion import (
    CameraTracker,
    RememberedMotion,
    is_large_enough,
    scaled,
)
from framegate.tokenizers.gate.config import MOTION_RULE, GateConfig
from framegate.tokenizers.gate.exact import Progress, exact_run, untold
from framegate.tokenizers.gate.grid import CellGrid, tubes_of
from framegate.tokenizers.gate.plan import GatePlan
from framegate.tokenizers.gate.replay import whole_plan
from framegate.tokenizers.gate.ruled import ruled_run
from framegate.tokenizers.gate.scan import GateRules, GateScan
from framegate.tokenizers.gate.thresholds import threshold_run
from framegate.tokenizers.gate.weights import weighed
from framegate.types import UInt8Array

ForcedKeyframes = Callable[[int], bool]


def never(_tube: int) -> bool:
    """No tube is a keyframe by order of the codec."""
    return False


def plan_gate(
    frames: Iterable[UInt8Array],
    grid: CellGrid,
    config: GateConfig,
    budget: Budget,
    *,
    forced_keyframe: ForcedKeyframes = never,
    progress: Progress = untold,
) -> GatePlan:
    """Decide which cells of a clip are encoded.

    Without a budget the pass is causal and memory bounded: every skipped cell is within the threshold of what
    is shown in its place. A budget holds the clip's luma (at half resolution where cells allow it, width *
    height / 4 bytes a frame; about 2 bytes a pixel with scales beyond (1,), for what coarse tokens lose shows
    at full resolution only) and is met exactly.

    Args:
        frames: uint8 [h, w] luma, of the grid's size; read once. A last tube that is not full repeats its
            last frame. Rules that compare colours take [h, w, 3] RGB.
        grid: geometry of the frames.
        config: metric, reference, motion and rules.
        budget: what may be kept.
        forced_keyframe: tells whether a tube (by number) is encoded whole whatever changed.
        progress: told, from the last frame on, what share of the search for a budget is about done, up to 1.0.

    Returns:
        The plan of all tubes; its caller tells times and where the frames come from.

    Raises:
        BudgetError: the budget is less than one token.

    Source: GRT (arXiv 2509.14199) section 3 for the gate by threshold.
    """
    tubes = tubes_of(frames, grid.tube_frames)
    if config.rule != MOTION_RULE:
        return ruled_run(tubes, grid, config, budget)
    config, notes = usable_config(grid, config)
    if budget.keep_ratio is not None:
        held = _Held(grid, config)
        run = _meet(held.take_all(tubes), budget, config, forced_keyframe, progress)
    else:
        run = _causal(tubes, grid, config, budget, forced_keyframe, progress)
    progress(1.0)
    return replace(run, notes=notes + run.notes)


def usable_config(grid: CellGrid, config: GateConfig) -> tuple[GateConfig, tuple[str, ...]]:
    """Leave out the camera motion that a clip cannot have.

    Args:
        grid: geometry of the frames.
        config: what was asked for.

    Returns:
        What can be done, and a note on what stood aside.

    Source: ours.
    """
    if config.motion == "none":
        return config, ()
    if config.reference == "previous":
        reason = 'reference "previous" compares with the tube before, as printed'
    elif not is_large_enough(grid):
        reason = f"frames of {grid.width_px} x {grid.height_px} px hold too few features"
    else:
        return config, ()
    return replace(config, motion="none"), (f"camera motion stands aside: {reason}",)


def moving_scan(grid: CellGrid, rules: GateRules) -> GateScan:
    """A causal gate that lets each tube try the camera's motion."""
    tracker = CameraTracker(grid)
    return GateScan(grid, rules, motion_source=lambda _, before, after: tracker.motion(before, after))


class _Held:
    """A clip's luma in memory, weighted, at the resolution at which budgets are planned."""

    def __init__(self, grid: CellGrid, config: GateConfig) -> None:
        # SSIM and L2 are judged as printed, at full resolution; the mean difference of half-size cells is as good.
        # Coarse tokens lose what half a resolution does not show.
        # A search by threshold sees what its thresholds are judged by, on every device.
        full = config.metric != "mad" or config.is_mixed or config.search == "threshold"
        has_quarters = config.residual_pool == "mean" or grid.cell_px % 4 == 0
        self.halves = grid.can_halve and has_quarters and not full
        self._weight = config.weight
        # the camera is followed on plain luma
        self._plain: list[UInt8Array] | None = (
            [] if config.motion == "camera" and config.weight != "luma" else None
        )
        self.full_grid = grid
        self.grid = grid.halved() if self.halves else grid
        self._tubes: list[UInt8Array] = []

    def take(self, tube: UInt8Array) -> None:
        judged = weighed(tube, self._weight)
        self._tubes.append(halved(judged) if self.halves else judged)
        if self._plain is not None:
            self._plain.append(halved(tube) if self.halves else tube)

    def take_all(self, tubes: Iterable[UInt8Array]) -> _Held:
        for tube in tubes:
            self.take(tube)
        return self

    @property
    def luma(self) -> UInt8Array:
        """uint8 [T, k, h, w]."""
        return np.stack(self._tubes)

    def motion(self, luma: UInt8Array) -> RememberedMotion:
        """The camera's motion, given the luma that is judged."""
        return RememberedMotion(self.grid, luma if self._plain is None else np.stack(self._plain))

    @property
    def num_cells(self) -> int:
        return len(self._tubes) * self.grid.num_cells

    def on_full_frames(self, plan: GatePlan) -> GatePlan:
        """Carry a plan over from the resolution it was made at."""
        if not self.halves:
            return plan
        motion = scaled(plan.camera_motion, 2).astype(np.float32)
        return replace(plan, grid=self.full_grid, camera_motion=motion)


def _meet(
    held: _Held,
    budget: Budget,
    config: GateConfig,
    forced_keyframe: ForcedKeyframes,
    progress: Progress,
    *,
    cells: int | None = None,
) -> GatePlan:
    """Plan a held clip to its exact budget."""
    wanted = budget.exact(held.num_cells) if cells is None else cells
    luma = held.luma
    if wanted == held.num_cells:
        return held.on_full_frames(whole_plan(luma, held.grid))
    assert wanted is not None
    forced = np.array([tube == 0 or forced_keyframe(tube) for tube in range(len(luma))])
    if config.search == "threshold":
        return threshold_run(luma, held.grid, config, wanted)
    if config.is_mixed:
        return mixed_run(luma, held.grid, config, wanted, forced)
    run, _ = exact_run(luma, held.grid, config, wanted, forced, held.motion(luma), progress)
    return held.on_full_frames(run)


def _causal(
    tubes: Iterable[UInt8Array],
    grid: CellGrid,
    config: GateConfig,
    budget: Budget,
    forced_keyframe: ForcedKeyframes,
    progress: Progress,
) -> GatePlan:
    """One pass with the threshold; with a cap, planned again to the cap when the pass goes over it."""
    held = _Held(grid, config) if budget.max_tokens is not None else None
    run = _threshold_run(_seen(tubes, held), grid, config, forced_keyframe)
    if held is None or budget.max_tokens is None or run.num_kept <= budget.max_tokens:
        return run
    met = _meet(held, budget, config, forced_keyframe, progress, cells=budget.max_tokens)
    return replace(met, notes=(budget.replaced_threshold(run.num_kept), *met.notes))


def _seen(tubes: Iterable[UInt8Array], held: _Held | None) -> Iterator[UInt8Array]:
    for tube in tubes:
        if held is not None:
            held.take(tube)
        yield tube


def _threshold_run(
    tubes: Iterable[UInt8Array], grid: CellGrid, config: GateConfig, forced_keyframe: ForcedKeyframes
) -> GatePlan:
    """Gate with and without camera motion side by side, and keep the one that encodes less."""
    rules = GateRules.of(config)
    scans = [GateScan(grid, rules)]
    if config.motion == "camera":
        scans.append(moving_scan(grid, rules))
    decisions = [
        [scan.step(tube, force_keyframe=forced_keyframe(number)) for scan in scans]
        for number, tube in enumerate(tubes)
    ]
    runs = [GatePlan.stacked([step[index] for step in decisions]) for index in range(len(scans))]
    return min(runs, key=lambda run: run.num_kept)
