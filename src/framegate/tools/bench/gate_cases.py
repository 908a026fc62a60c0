"""The gate's ops over a clip of which half stands still: block_residual between tubes, anchor_scan through them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from framegate.kernels.anchor_scan import anchor_scan
from framegate.kernels.block_residual import Metric, block_residual
from framegate.tools.bench.case import Case, Outputs, Setting, Work
from framegate.tools.bench.providers import COMPILED

TUBE_FRAMES, CELL_PX = 2, 28
SIDE_PX = {"cuda": 448, "cpu": 448, "quick": 56}
# of luma, far above the noise and far below what moves
THRESHOLD = 4.0
FRAMES = {"cuda": (16, 64, 256), "cpu": (16, 64), "quick": (4,)}
SSIM_FRAMES = {"cuda": (64,), "cpu": (16,), "quick": ()}
THRESHOLDS = {"cuda": (16,), "cpu": (), "quick": (2,)}
THRESHOLD_FRAMES = {"cuda": 64, "cpu": 64, "quick": 4}
KEYFRAME_FRACTION = 0.8
# torch.compile unrolls the loop over tubes
MOST_UNROLLED_FRAMES = 16


def half_static_clip(setting: Setting, frames: int) -> Tensor:
    """Draw luma, uint8 [frames / 2, 2, h, w]: the left half stands still but for noise, the right half moves."""
    side = SIDE_PX[setting.size]
    generator = setting.generator()
    picture = torch.randint(40, 216, (side, side), generator=generator)
    clip = picture + torch.randint(-1, 2, (frames, side, side), generator=generator)
    for frame, shown in enumerate(clip):
        shown[:, side // 2 :] = shown[:, side // 2 :].roll(3 * frame, dims=1)
    return clip.to(torch.uint8).reshape(-1, TUBE_FRAMES, side, side).to(setting.device)


def num_cells(clip: Tensor) -> int:
    """Count the cells of all tubes."""
    tubes, _, height, width = clip.shape
    return tubes * (height // CELL_PX) * (width // CELL_PX)


def block_residual_cases(setting: Setting) -> Iterator[Case]:
    """Give every tube of a clip against the one before."""
    for frames in setting.choose(FRAMES):
        yield _block_residual(setting, frames, "mad", "frames")
    for frames in setting.choose(SSIM_FRAMES):
        yield _block_residual(setting, frames, "ssim", "frames_ssim")


def _block_residual(setting: Setting, frames: int, metric: Metric, x_name: str) -> Case:
    tubes = half_static_clip(setting, frames)
    before = tubes.roll(1, dims=0)
    on_cpu = setting.device.type == "cpu"
    return Case(
        op="block_residual",
        x_name=x_name,
        x=frames,
        shape={"tubes": list(tubes.shape), "cell_px": CELL_PX, "metric": metric},
        dtype=torch.uint8,
        run=lambda backend: block_residual(tubes, before, CELL_PX, metric, backend=backend),
        work={"forward": Work(num_bytes=2 * tubes.numel() + 4 * num_cells(tubes))},
        rivals={"opencv": _opencv_block_residual(tubes, before, metric)} if on_cpu else {},
    )


def _opencv_block_residual(tubes: Tensor, before: Tensor, metric: Metric) -> Callable[[], Tensor]:
    """The gate's own path on a CPU."""
    from framegate.tokenizers.gate.grid import CellGrid
    from framegate.tokenizers.gate.residual import residual_of

    height, width = tubes.shape[-2:]
    grid = CellGrid.of(height, width, cell_px=CELL_PX, tube_frames=TUBE_FRAMES)
    residual, pairs = residual_of(metric), list(zip(tubes.numpy(), before.numpy(), strict=True))
    return lambda: torch.from_numpy(np.stack([residual(a, b, grid) for a, b in pairs]))


def anchor_scan_cases(setting: Setting) -> Iterator[Case]:
    """Give the gate over a clip, and for several thresholds at once."""
    for frames in setting.choose(FRAMES):
        yield _anchor_scan(setting, frames)
    for count in setting.choose(THRESHOLDS):
        yield _anchor_scan(setting, THRESHOLD_FRAMES[setting.size], count)


def _anchor_scan(setting: Setting, frames: int, count: int | None = None) -> Case:
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
        rivals={"opencv": _opencv_anchor_scan(clip)} if has_gate else {},
        excused={COMPILED: "it unrolls the loop over tubes, and compiles for minutes"} if unrolls else {},
    )


def _opencv_anchor_scan(clip: Tensor) -> Callable[[], Outputs]:
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
