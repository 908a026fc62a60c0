"""block_residual: every tube of a clip against the one before."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from framegate.kernels.block_residual import Metric, block_residual
from framegate.tools.bench.case import Case, Setting, Work
from framegate.tools.bench.cases.clip import CELL_PX, TUBE_FRAMES, half_static_clip, num_cells

FRAMES = {"cuda": (16, 64, 256), "cpu": (16, 64), "quick": (4,)}
SSIM_FRAMES = {"cuda": (64,), "cpu": (16,), "quick": ()}


def cases(setting: Setting) -> Iterator[Case]:
    """Make the cases of block_residual."""
    for frames in setting.choose(FRAMES):
        yield _case(setting, frames, "mad", "frames")
    for frames in setting.choose(SSIM_FRAMES):
        yield _case(setting, frames, "ssim", "frames_ssim")


def _case(setting: Setting, frames: int, metric: Metric, x_name: str) -> Case:
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
        rivals={"opencv": _opencv(tubes, before, metric)} if on_cpu else {},
    )


def _opencv(tubes: Tensor, before: Tensor, metric: Metric) -> Callable[[], Tensor]:
    """The gate's own path on a CPU."""
    from framegate.tokenizers.gate.grid import CellGrid
    from framegate.tokenizers.gate.residual import residual_of

    height, width = tubes.shape[-2:]
    grid = CellGrid.of(height, width, cell_px=CELL_PX, tube_frames=TUBE_FRAMES)
    residual, pairs = residual_of(metric), list(zip(tubes.numpy(), before.numpy(), strict=True))
    return lambda: torch.from_numpy(np.stack([residual(a, b, grid) for a, b in pairs]))
