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

    The clip is read once, and held only where a cap may have to be met: then it is planned again to the cap, with a
    note.

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
