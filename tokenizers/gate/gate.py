"""The gate over a whole clip: a causal pass, or the plan that meets an exact budget."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from framegate.tokenizers.gate.budget import Budget
from framegate.tokenizers.gate.camera_motion import is_large_enough
from framegate.tokenizers.gate.clip_tubes import ClipTubes
from framegate.tokenizers.gate.config import GateConfig
from framegate.tokenizers.gate.grid import CellGrid, tubes_of
from framegate.tokenizers.gate.plan import GatePlan
from framegate.tokenizers.gate.planners import Progress, planned
from framegate.types import UInt8Array


def never(_tube: int) -> bool:
    """No tube is a keyframe by order of the codec."""
    return False


def untold(_share: float) -> None:
    """Nobody asked how far the search is."""


def plan_gate(
    frames: Iterable[UInt8Array],
    grid: CellGrid,
    config: GateConfig,
    budget: Budget,
    *,
    forced_keyframe: Callable[[int], bool] = never,
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
    """
    config, notes = usable_config(grid, config)
    clip = ClipTubes(tubes_of(frames, grid.tube_frames), grid, config, forced_keyframe)
    plan = planned(clip, config, budget, progress)
    progress(1.0)
    return replace(plan, notes=notes + plan.notes)


def usable_config(grid: CellGrid, config: GateConfig) -> tuple[GateConfig, tuple[str, ...]]:
    """Leave out the camera motion that a clip cannot have.

    Args:
        grid: geometry of the frames.
        config: what was asked for.

    Returns:
        What can be done, and a note on what stood aside.
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
