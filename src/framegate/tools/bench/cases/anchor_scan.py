"""anchor_scan: the gate over a clip of which half the cells move, and for several thresholds at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from framegate.kernels.anchor_scan import anchor_scan
from framegate.tools.bench.case import Case, Outputs, Setting, Work
from framegate.tools.bench.cases.clip import CELL_PX, THRESHOLD, TUBE_FRAMES, half_static_clip, num_cells
from framegate.tools.bench.providers import COMPILED

FRAMES = {"cuda": (16, 64, 256), "cpu": (16, 64), "quick": (4,)}
THRESHOLDS = {"cuda": (16,), "cpu": (), "quick": (2,)}
THRESHOLD_FRAMES = {"cuda": 64, "cpu": 64, "quick": 4}
KEYFRAME_FRACTION = 0.8
# torch.compile unrolls the loop over tubes
MOST_UNROLLED_FRAMES = 16


def cases(setting: Setting) -> Iterator[Case]:
    """Make the cases of anchor_scan."""
    for frames in setting.choose(FRAMES):
        yield _case(setting, frames)
    for count in setting.choose(THRESHOLDS):
        yield _case(setting, THRESHOLD_FRAMES[setting.size], count)


def _case(setting: Setting, frames: int, count: int | None = None) -> Case:
    clip = half_static_clip(setting, frames)
    several = None if count is None else torch.linspace(1, 2 * THRESHOLD, count).to(setting.device)
    threshold = THRESHOLD if several is None else several
    has_gate = setting.device.type == "cpu" and several is None
    unrolls = frames * (count or 1) > MOST_UNROLLED_FRAMES
    return Case(
        op="anchor_scan",
        x_name="frames" if count is None else "thresholds",
        x=frames if count is None else count,
        shape={"tubes": list(clip.shape), "cell_px": CELL_PX, "metric": "mad", "thresholds": count or 1},
        dtype=torch.uint8,
        run=lambda backend: anchor_scan(
            clip, CELL_PX, threshold, keyframe_fraction=KEYFRAME_FRACTION, backend=backend
        ),
        # every frame once, then a decision and its residual per cell
        work={"forward": Work(num_bytes=clip.numel() + (1 + 4) * num_cells(clip) * (count or 1))},
        rivals={"opencv": _opencv(clip)} if has_gate else {},
        excused={COMPILED: "it unrolls the loop over tubes, and compiles for minutes"} if unrolls else {},
    )


def _opencv(clip: Tensor) -> Callable[[], Outputs]:
    """The gate's own path on a CPU."""
    from framegate.tokenizers.gate.grid import CellGrid
    from framegate.tokenizers.gate.scan import GateRules, GateScan

    height, width = clip.shape[-2:]
    grid = CellGrid.of(height, width, cell_px=CELL_PX, tube_frames=TUBE_FRAMES)
    rules = GateRules(metric="mad", threshold=THRESHOLD, keyframe_fraction=KEYFRAME_FRACTION)
    tubes = list(clip.numpy())

    def scanned() -> Outputs:
        scan = GateScan(grid, rules)
        steps = [scan.step(tube) for tube in tubes]
        keep, residual = [step.keep for step in steps], [step.residual for step in steps]
        return torch.from_numpy(np.concatenate(keep)), torch.from_numpy(np.concatenate(residual))

    return scanned
