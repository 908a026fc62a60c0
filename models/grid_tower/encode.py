"""Running a grid tower on kept cells alone: gather, encode, project, scatter, pool, gather again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from framegate.models.grid_tower.encoder import embed_patches, encode_rows
from framegate.models.grid_tower.geometry import patches_of_cells

# Frames that are pooled at once: their whole grids are laid out at the language model's width.
_FRAMES_AT_ONCE = 16


def grid_side(inner: Any) -> int:
    """Count the patches along one side of a frame, as the family's pooling does.

    Args:
        inner: LLaVA-OneVision without its language-model head.

    Returns:
        image_size // patch_size of its vision configuration.

    Source: apply_pooling of transformers' LlavaOnevisionModel.
    """
    vision = inner.config.vision_config
    return int(vision.image_size // vision.patch_size)


def encode_kept(
    inner: Any, patches: Tensor, keep: Tensor, *, layers: int | Sequence[int] | None = None
) -> Tensor:
    """Encode the patches under the kept cells of all frames, and pool them to those cells.

    A kept cell's token is pooled from the patches that it reads, and all of those are encoded. So nothing is ever read
    from a place that was skipped, and such places need no filling from their anchors: they hold zeros.

    Args:
        inner: LLaVA-OneVision without its language-model head.
        patches: [K, C * p * p], those under kept cells, frame by frame, row by row.
        keep: bool [F, H, W], kept cells of the frames of all videos.
        layers: vision_feature_layer of the call, None for the configuration's.

    Returns:
        [kept cells, D] in token order.

    Raises:
        ConfigError: layers that the tower does not have.

    Source: ours; every module is the stock model's.
    """
    needed = patches_of_cells(keep, grid_side(inner)).flatten(1)  # [F, n*n]
    assert len(patches) == int(needed.sum())
    tower = inner.vision_tower
    frame, place = needed.nonzero(as_tuple=True)
    lengths = torch.bincount(frame, minlength=len(needed)).tolist()
    layers = inner.config.vision_feature_layer if layers is None else layers
    states = encode_rows(tower, embed_patches(tower, patches, place), lengths, layers)
    projected = inner.multi_modal_projector(states)
    return pool_kept(inner, projected, needed, keep.flatten(1), lengths)


def pool_kept(inner: Any, rows: Tensor, needed: Tensor, keep: Tensor, lengths: Sequence[int]) -> Tensor:
    """Pool projected patches by the family's own pooling, and take the kept cells out.

    Args:
        inner: the model without its language-model head.
        rows: [K, D], frame by frame.
        needed: bool [F, n*n], places of the rows.
        keep: bool [F, H*W].
        lengths: rows of each frame.

    Returns:
        [kept cells, D].
    """
    needed, keep = needed.to(rows.device), keep.to(rows.device)
    shown = [number for number, length in enumerate(lengths) if length]
    parts, start = [], 0
    for first in range(0, len(shown), _FRAMES_AT_ONCE):
        frames = shown[first : first + _FRAMES_AT_ONCE]
        end = start + sum(lengths[number] for number in frames)
        grid = rows.new_zeros(len(frames), needed.shape[1], rows.shape[1])  # [f, n*n, D]
        grid[needed[frames]] = rows[start:end]
        parts.append(inner.apply_pooling(grid)[keep[frames]])  # [f, H*W, D] -> [kept, D]
        start = end
    return torch.cat(parts) if parts else rows.new_zeros(0, rows.shape[1])
