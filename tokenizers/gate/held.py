"""Plans that go on from an earlier one of the same video: tubes that come back keep their cells, for nothing.

With what the tower made of them remembered, a turn that adds frames costs what the new frames cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np

from framegate.errors import PlanError
from framegate.tokenizers.clip.same_video import SAME_TIME_SECONDS
from framegate.tokenizers.gate.config import Budget, GateConfig
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.plan import GatePlan
from framegate.tokenizers.gate.planners import Progress, plan_gate
from framegate.tokenizers.gate.trace import NEVER_SHOWN, traced_anchors
from framegate.types import FramePlan, Int64Array, UInt8Array

NEW = -1


def plan_after(
    before: GatePlan,
    frames: FramePlan,
    pixels: Iterable[UInt8Array],
    grid: CellGrid,
    config: GateConfig,
    budget: Budget,
    *,
    forced_keyframe: Callable[[int], bool],
    progress: Progress,
) -> GatePlan:
    """Decide which cells of a clip are encoded, after a plan of other frames of its video.

    Tubes of that plan that come back keep their cells; the others are planned as a clip of their own, at the same share
    of their cells.

    Args:
        before: the plan.
        frames: those of the clip.
        pixels: of all of them, as `plan_gate` takes them.
        grid: geometry of the frames.
        config: metric, reference, motion and rules.
        budget: what may be kept.
        forced_keyframe: tells whether a tube (by number) is encoded whole whatever changed.
        progress: told what share of the search is about done.

    Returns:
        The plan of all tubes; its caller tells times and where the frames come from.

    Raises:
        BudgetError: the budget is less than one token.
        PlanError: a plan before that travelled without its frames.
    """
    held, note = held_tubes(before, frames, grid), ""
    rest = budget_of_rest(budget, before, held)
    if rest is None:
        held[:], rest = NEW, budget
        note = f"before: its tubes alone spend max_video_tokens {budget.max_tokens}, all are planned anew"
    elif (held == NEW).all():
        rest, note = budget, "before: none of its tubes comes back as it was, all are planned anew"
    new = np.flatnonzero(held == NEW)
    if not len(new):
        return joined(before, None, held)
    run = plan_gate(
        of_new_tubes(pixels, held, grid.tube_frames),
        grid,
        config,
        rest,
        forced_keyframe=lambda tube: forced_keyframe(int(new[tube])),
        progress=progress,
    )
    return replace(run, notes=(*run.notes, note)) if len(new) == len(held) else joined(before, run, held)


def held_tubes(before: GatePlan, frames: FramePlan, grid: CellGrid) -> Int64Array:
    """Find the tubes of a plan that other frames hold again.

    A tube is held where its frames come back in one tube, at one size, and with it all tubes that show its skipped
    cells: only then is its choice of cells still a plan.

    Args:
        before: the plan.
        frames: those that are used now.
        grid: their geometry.

    Returns:
        For each tube now its number in the plan, NEW (-1) for none, int64 [T].

    Raises:
        PlanError: a plan that travelled without its frames.
    """
    if before.frames is None:
        raise PlanError(
            "`before` does not know which frames it was made of; take the plan as plan_video gave it."
        )
    now = _tubes(frames, grid.tube_frames)
    held = np.full(len(now), NEW)
    if before.grid != grid:
        return held
    number = {tube: n for n, tube in enumerate(_tubes(before.frames, grid.tube_frames))}
    times = frames.timestamps_seconds[:: grid.tube_frames]
    for tube, key in enumerate(now):
        n = number.get(key, NEW)
        if n != NEW and abs(times[tube] - before.timestamps_seconds[n]) <= SAME_TIME_SECONDS:
            held[tube] = n
    lost = np.ones(len(before.keep), bool)
    lost[held[held != NEW]] = False
    for n, anchor in enumerate(before.anchor):
        lost[n] |= bool(lost[anchor[(anchor != NEVER_SHOWN) & (anchor != n)]].any())
    held[lost[held]] = NEW
    return held


def budget_of_rest(budget: Budget, before: GatePlan, held: Int64Array) -> Budget | None:
    """Say what the tubes that are not held may cost: the same share of them; None where held ones spent the cap."""
    of_held, new = int(before.keep[held[held != NEW]].sum()), int((held == NEW).sum())
    left = None if budget.max_tokens is None else budget.max_tokens - of_held
    if left is not None and new and left < 1:
        return None
    # few new tubes may have less than a cell by their share
    least = 1 / max(1, new * before.grid.num_cells)
    share = None if budget.keep_ratio is None else max(budget.keep_ratio, least)
    return Budget(keep_ratio=share, max_tokens=left)


def of_new_tubes(pixels: Iterable[UInt8Array], held: Int64Array, tube_frames: int) -> Iterator[UInt8Array]:
    """Pass on the frames of the tubes that are not held."""
    return (frame for number, frame in enumerate(pixels) if held[number // tube_frames] == NEW)


def joined(before: GatePlan, run: GatePlan | None, held: Int64Array) -> GatePlan:
    """Put the held tubes of a plan and a run of the others into one order of time; anchors stay within each.

    Args:
        before: the plan.
        run: of the tubes that are not held, in order; None where all are.
        held: as `held_tubes` gives it.

    Returns:
        The plan of all tubes. Cells that neither shows by itself are shown by the last one before them, if any.
    """
    grid, shape = before.grid, (len(held), before.grid.rows, before.grid.columns)
    keep, residual = np.empty(shape, bool), np.empty(shape, np.float32)
    anchor, motion_px = np.empty(shape, np.int32), np.empty((*shape, 2), np.float32)
    old, new = np.flatnonzero(held != NEW), np.flatnonzero(held == NEW)
    for plan, at, of in ((before, old, held[old]), (run, new, np.arange(len(new)))):
        if plan is None:
            continue
        place = np.full(len(plan.keep) + 1, NEVER_SHOWN, np.int32)  # the last one: what was never shown
        place[of] = at
        keep[at], residual[at], motion_px[at] = plan.keep[of], plan.residual[of], plan.motion_px[of]
        anchor[at] = place[plan.anchor[of]]
    still = GatePlan.still(keep, grid)
    fallback, _ = traced_anchors(keep, still.moved, still.camera_motion, grid)
    anchor = np.where(anchor == NEVER_SHOWN, fallback, anchor)
    note = f"before: {len(old)} of {len(held)} tubes keep their cells, {len(new)} are planned as a run of their own"
    return replace(
        still,
        residual=residual,
        moved=(motion_px != 0).any(axis=-1) & ~keep,
        traced=(anchor, motion_px),
        notes=(*(() if run is None else run.notes), note),
    )


def _tubes(frames: FramePlan, tube_frames: int) -> list[tuple[int, ...]]:
    """Frames of each tube, of which the last repeats its last frame."""
    indices = frames.indices.tolist()
    indices += indices[-1:] * (-len(indices) % tube_frames)
    return [tuple(indices[start : start + tube_frames]) for start in range(0, len(indices), tube_frames)]
