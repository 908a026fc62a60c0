"""How a clip's cells are decided on: a planner a file, all of one shape, `plan(clip, config, budget, progress)`.

`rules` and `causal` read the clip once and hold nothing that they need not; the others meet an exact budget and hold
the clip's luma. Adding one is a file and the word of the configuration that asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from typing import Any

from tqdm.auto import tqdm

from framegate.notebook import no_bar
from framegate.tokenizers.gate.camera_motion import is_large_enough
from framegate.tokenizers.gate.clip_tubes import ClipTubes
from framegate.tokenizers.gate.config import MOTION_RULE, Budget, GateConfig
from framegate.tokenizers.gate.grid import CellGrid, tubes_of
from framegate.tokenizers.gate.held_luma import in_turn
from framegate.tokenizers.gate.plan import GatePlan
from framegate.tokenizers.gate.replay import whole_plan
from framegate.types import UInt8Array

# told what share of the search is about done
Progress = Callable[[float], None]
Planner = Callable[[ClipTubes, GateConfig, Budget, Progress], GatePlan]


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
    height / 4 bytes a frame; above 96 MiB in a temporary file) and is met exactly.

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
    """Leave out the camera motion that frames of this grid cannot have, with a note on what stood aside."""
    if config.motion == "none":
        return config, ()
    if config.reference == "previous":
        reason = 'reference "previous" compares with the tube before, as printed'
    elif not is_large_enough(grid):
        reason = f"frames of {grid.width_px} x {grid.height_px} px hold too few features"
    else:
        return config, ()
    return replace(config, motion="none"), (f"camera motion stands aside: {reason}",)


def planned(clip: ClipTubes, config: GateConfig, budget: Budget, progress: Progress) -> GatePlan:
    """Decide on a clip, which is read here, with the planner that configuration and budget ask for."""
    if config.rule != MOTION_RULE:
        name = "rules"
    elif budget.keep_ratio is None:
        name = "causal"
    elif budget.most(clip.num_cells) == clip.num_cells:
        # every cell is encoded; residuals tell what changed
        return clip.on_full_frames(whole_plan(in_turn(clip.luma), clip.planning_grid))
    else:
        name = config.search
    plan: Planner = import_module(f"{__name__}.{name}").plan
    return plan(clip, config, budget, progress)


@contextmanager
def progress_bar(*, show: bool) -> Iterator[Progress]:
    """A bar for the search that follows decoding; it appears with the first word of progress."""
    bar: Any = None

    def tell(share: float) -> None:
        nonlocal bar
        if bar is None:
            bar = tqdm(total=100, desc="planning", unit="%", leave=False, disable=no_bar(show))
        bar.update(round(100 * share) - bar.n)

    try:
        yield tell
    finally:
        if bar is not None:
            bar.close()
