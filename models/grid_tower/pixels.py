"""Stock pixels of whole frames and rows of single patches, one from the other."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor


def cut_patches(pixels: Tensor, patch_px: int) -> Tensor:
    """View frames as the patches that a strided projection sees; what is left at the right and bottom is unseen.

    Args:
        pixels: [F, C, h, w].
        patch_px: side of a patch.

    Returns:
        [F, n, n, C * p * p].

    Source: ours; the order inside a patch is that of a convolution's weight.
    """
    rows, columns = pixels.shape[-2] // patch_px, pixels.shape[-1] // patch_px
    seen = pixels[..., : rows * patch_px, : columns * patch_px]
    return rearrange(seen, "f c (h p) (w q) -> f h w (c p q)", p=patch_px, q=patch_px)


def whole_frames(patches: Tensor, patch_px: int, image_px: int) -> Tensor:
    """Put the patches of whole frames together.

    Args:
        patches: [F, n, n, C * p * p].
        patch_px: side of a patch.
        image_px: side of a frame at tower size; what no patch covers is zero, and no projection reads it.

    Returns:
        [F, C, image_px, image_px].

    Source: ours; inverse of `cut_patches`.
    """
    seen = rearrange(patches, "f h w (c p q) -> f c (h p) (w q)", p=patch_px, q=patch_px)
    unseen = image_px - seen.shape[-1]
    return F.pad(seen, (0, unseen, 0, unseen))


def reused_patches(patches: Tensor, encoded: Tensor, anchors: Tensor) -> Tensor:
    """Give every skipped patch its anchor's pixels.

    The projection sees one patch at a time: embedding a copy of the anchor's pixels is embedding reuse, bit for bit.

    Args:
        patches: [K, C * p * p], those of encoded places.
        encoded: bool [T, n, n].
        anchors: int64 [T, n, n], tube whose patch stands at each place; none is -1.

    Returns:
        [T, n, n, C * p * p].

    Source: the released GRT code's behaviour (its `reuse` path); this way of getting it is ours.
    """
    rank = (encoded.flatten().long().cumsum(0) - 1).view_as(encoded)
    rows = rank.gather(0, anchors)  # [T, n, n]
    return patches[rows.to(patches.device)]


def first_bad_frame(pixels: Tensor) -> int | None:
    """Number of the first frame of [F, C, h, w] that holds NaN or infinite values."""
    bad = ~torch.isfinite(pixels).flatten(1).all(1)
    return int(bad.nonzero()[0]) if bool(bad.any()) else None
