"""The tower on kept patches and what the language model reads of it, as index tensors: what vLLM's model goes by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from framegate.errors import PlanError
from framegate.models.stages.registry import StageCall
from framegate.models.stages.select.stage import TokenSelect
from framegate.models.video_tokens import Shape, VideoTokens


class KeptPatches(NamedTuple):
    """Where the kept patches of a video stand.

    Args:
        places: int64 [patches], number of each in a tube's table, whose order is that of the tower: cell by cell.
        lengths: patches of each tube that keeps some, in order: attention stays within a tube.
    """

    places: Tensor
    lengths: list[int]


class ReadTokens(NamedTuple):
    """What the language model reads of a video.

    Args:
        features: [n, D * (1 + levels)], those of the DeepStack levels beside the first.
        places: int64 [n, 2], row and column of each token's cell.
    """

    features: Tensor
    places: Tensor


def is_encoded(source: Tensor) -> Tensor:
    """Which cells the tower encodes, bool [N], by the cell that each shows, int [N] (`PlannedVideo`)."""
    return source == torch.arange(len(source), device=source.device)


def kept_patches(source: Tensor, shape: Shape, *, merge_size: int) -> KeptPatches:
    """Find the kept patches of a video in a tube's table.

    Args:
        source: int [T * H * W], the cell that each shows, its own where it is encoded.
        shape: T, H and W, in cells.
        merge_size: patches along the side of a cell.
    """
    _check_cells(source, shape)
    tubes, height, width = shape
    keep, patches = is_encoded(source), merge_size**2
    cells = keep.nonzero()[:, 0] % (height * width)
    lengths = (keep.view(tubes, -1).sum(1) * patches).tolist()
    return KeptPatches(
        (cells[:, None] * patches + torch.arange(patches)).flatten(), [length for length in lengths if length]
    )


def read_tokens(
    encoded: Tensor, source: Tensor, counts: Tensor, shape: Shape, *, width: int, select: TokenSelect | None
) -> ReadTokens:
    """Show every cell by its own features or its anchor's, and leave what the language model reads.

    Args:
        encoded: features of the encoded cells, [K, width * (1 + levels)], in token order.
        source: int [T * H * W], as above.
        counts: int [T], tokens that each tube was scheduled with.
        shape: T, H and W, in cells.
        width: of a level.
        select: leaves tokens behind the tower; None where the plan says all.

    Returns:
        The tokens, in the order of their cells.

    Raises:
        PlanError: features or tubes do not come to the numbers that were planned.

    Source: ours; the same refill and selection as in transformers (`VideoTokens`, `TokenSelect`).
    """
    _check_cells(source, shape)
    keep, wanted = is_encoded(source), int(counts.sum())
    if len(encoded) != int(keep.sum()):
        raise PlanError(f"The tower gave {len(encoded)} cells for {int(keep.sum())} that were planned.")
    layers = encoded.split(width, dim=1)
    tokens = VideoTokens.of_cells(layers, keep, source.long(), [shape]).refilled()
    if select is not None:
        tokens = select(tokens, StageCall(targets=[wanted], exact=True))
    place = tokens.tyx
    found = torch.bincount(place[:, 0], minlength=shape[0])
    if found.tolist() != counts.tolist():
        raise PlanError(
            f"The tubes have {found.tolist()} tokens, and the prompt was scheduled with {counts.tolist()}."
        )
    return ReadTokens(torch.cat(tokens.layers, dim=1), place[:, 1:])


def with_places(features: Tensor, places: Tensor) -> Tensor:
    """Put rows and columns, int64 [n, 2], beside features [n, D]: [n, D + 2], as vLLM carries them to `moved`."""
    return torch.cat([features, places.to(features)], dim=1)


def grid_places(height: int, width: int) -> Tensor:
    """Row and column of every cell of a picture, int64 [H * W, 2]."""
    return torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"), -1).view(
        -1, 2
    )


def _check_cells(source: Tensor, shape: Sequence[int]) -> None:
    tubes, height, width = shape
    if len(source) != tubes * height * width:
        raise PlanError(
            f"The plan has {len(source)} cells, and the grid {tubes} x {height} x {width}; both come from one video."
        )
