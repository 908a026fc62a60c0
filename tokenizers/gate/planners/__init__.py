"""How a clip's cells are decided on: a planner a file, all of one shape, `plan(clip, config, budget, progress)`.

`rules` and `causal` read the clip once and hold nothing that they need not; the others meet an exact budget and hold
the clip's luma. Adding one is a file and the word of the configuration that asks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from framegate.tokenizers.gate.config import MOTION_RULE, GateConfig

if TYPE_CHECKING:
    from framegate.tokenizers.gate.budget import Budget
    from framegate.tokenizers.gate.clip_tubes import ClipTubes
    from framegate.tokenizers.gate.plan import GatePlan

    Planner = Callable[["ClipTubes", GateConfig, "Budget", "Progress"], "GatePlan"]

# told what share of the search is about done
Progress = Callable[[float], None]


def planned(clip: ClipTubes, config: GateConfig, budget: Budget, progress: Progress) -> GatePlan:
    """Decide on a clip with the planner that configuration and budget ask for.

    Args:
        clip: read here.
        config: the gate.
        budget: what may be kept; an exact one holds the clip.
        progress: told how far the search for a budget is.

    Returns:
        The plan of all tubes, times not told.

    Raises:
        BudgetError: the budget is less than one token.
    """
    if config.rule != MOTION_RULE:
        name = "rules"
    elif budget.keep_ratio is None:
        name = "causal"
    elif budget.most(clip.num_cells) == clip.num_cells:
        name = "whole"
    else:
        name = "areas" if config.is_mixed else config.search
    plan: Planner = import_module(f"{__name__}.{name}").plan
    return plan(clip, config, budget, progress)
