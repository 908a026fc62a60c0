"""The plan where a budget pays for everything."""

from __future__ import annotations

from framegate.tokenizers.gate.budget import Budget
from framegate.tokenizers.gate.clip_tubes import ClipTubes
from framegate.tokenizers.gate.config import GateConfig
from framegate.tokenizers.gate.plan import GatePlan
from framegate.tokenizers.gate.planners import Progress
from framegate.tokenizers.gate.replay import whole_plan


def plan(clip: ClipTubes, config: GateConfig, budget: Budget, progress: Progress) -> GatePlan:
    """Encode every cell; residuals tell what changed."""
    return clip.on_full_frames(whole_plan(clip.luma, clip.planning_grid))
