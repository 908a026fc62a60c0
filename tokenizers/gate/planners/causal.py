"""One pass by the threshold, memory bounded, with and without camera motion side by side."""

from __future__ import annotations

from dataclasses import replace

from framegate.tokenizers.gate.clip_tubes import ClipTubes
from framegate.tokenizers.gate.config import Budget, GateConfig
from framegate.tokenizers.gate.plan import GatePlan
from framegate.tokenizers.gate.planners import Progress, planned
from framegate.tokenizers.gate.scan import GateRules, GateScan, moving_scan


def plan(clip: ClipTubes, config: GateConfig, budget: Budget, progress: Progress) -> GatePlan:
    """Gate with and without camera motion, and keep the plan that encodes less.

    Args:
        clip: read once; held only where a cap may have to be met.
        config: its threshold decides.
        budget: no ratio; where the pass goes over the cap, the clip is planned again to the cap.
        progress: told how far that second plan is.

    Returns:
        The plan; a note tells where the cap replaced the threshold.

    Source: GRT (arXiv 2509.14199) section 3, for the pass without motion.
    """
    rules = GateRules.of(config)
    scans = [GateScan(clip.grid, rules)]
    if config.motion == "camera":
        scans.append(moving_scan(clip.grid, rules))
    decisions = [
        [scan.step(tube, force_keyframe=clip.is_forced(number)) for scan in scans]
        for number, tube in enumerate(clip.read(hold=budget.max_tokens is not None))
    ]
    runs = [GatePlan.stacked([step[index] for step in decisions]) for index in range(len(scans))]
    run = min(runs, key=lambda run: run.num_kept)
    if budget.max_tokens is None or run.num_kept <= budget.max_tokens:
        return run
    met = planned(clip, config, replace(budget, keep_ratio=1.0), progress)
    return replace(met, notes=(budget.replaced_threshold(run.num_kept), *met.notes))
