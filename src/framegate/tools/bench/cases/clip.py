"""A clip for the gate: the left half stands still but for noise, the right half moves."""

from __future__ import annotations

import torch
from torch import Tensor

from framegate.tools.bench.case import Setting

TUBE_FRAMES, CELL_PX = 2, 28
SIDE_PX = {"cuda": 448, "cpu": 448, "quick": 56}
# of luma, far above the noise and far below what moves
THRESHOLD = 4.0


def half_static_clip(setting: Setting, frames: int) -> Tensor:
    """Draw a clip.

    Args:
        setting: where, and how large.
        frames: F, a multiple of 2.

    Returns:
        Luma, uint8 [F / 2, 2, h, w].

    Source: ours.
    """
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
