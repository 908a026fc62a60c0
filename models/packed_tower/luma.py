"""A tower's rows back to luma, where they are."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from framegate.errors import FrameError
from framegate.models.video_processor.patches import CHANNELS, PatchLayout

# of red, green and blue in 2 ** -15: the very luma that OpenCV makes of RGB
LUMA_WEIGHTS = (9798, 19235, 3735)
LUMA_BITS = 15
TUBES_AT_ONCE = 32


def luma_of_rows(rows: Tensor, grid_thw: tuple[int, int, int], layout: PatchLayout) -> Tensor:
    """Put the rows of one whole video together again, as luma.

    Args:
        rows: [t * h * w, C * tp * p * p], every patch of the video, floating point.
        grid_thw: tubes, patch rows and patch columns.
        layout: how the rows were cut and scaled.

    Returns:
        uint8 [t, tp, h * p, w * p], on the rows' device; what `unpatchify` and the CPU's gate see, bit for bit.

    Raises:
        FrameError: the number or the width of the rows does not fit the grid.

    Source: ours.
    """
    t, h, w = grid_thw
    if rows.shape != (t * h * w, layout.patch_dim):
        raise FrameError(
            f"Patches of shape {tuple(rows.shape)} do not fit the grid {grid_thw}: expected "
            f"{(t * h * w, layout.patch_dim)}."
        )
    # a few tubes at a time: on the way pixels are several times as large as the rows
    parts = rows.detach().split(TUBES_AT_ONCE * h * w)
    return rearrange(
        torch.cat([_luma(part, layout) for part in parts]),
        "(t H W m n) (a p q) -> t a (H m p) (W n q)",
        t=t,
        H=h // layout.merge_size,
        W=w // layout.merge_size,
        m=layout.merge_size,
        n=layout.merge_size,
        a=layout.temporal_patch_size,
        p=layout.patch_size_px,
        q=layout.patch_size_px,
    ).contiguous()


def _luma(rows: Tensor, layout: PatchLayout) -> Tensor:
    """Luma of some rows: [N, C * tp * p * p] -> uint8 [N, tp * p * p]."""
    mean, std = (
        torch.from_numpy(values).to(rows.device, non_blocking=True)[:, None] for values in layout.scaling()
    )
    pixels = rows.float().unflatten(1, (CHANNELS, -1)) * std + mean  # [N, C, tp*p*p]
    whole = pixels.round_().clamp_(0, 255).int()
    red, green, blue = (whole[:, channel] * weight for channel, weight in enumerate(LUMA_WEIGHTS))
    return ((red + green + blue + (1 << LUMA_BITS - 1)) >> LUMA_BITS).to(torch.uint8)
