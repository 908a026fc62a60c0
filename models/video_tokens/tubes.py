"""Tubes of all videos of a call, numbered through: which tokens they hold, their means, and merging them."""

from __future__ import annotations

import torch
from torch import Tensor

from framegate.models.video_tokens import VideoTokens
from framegate.models.video_tokens.tokens import Mean, mean_of_segments


def first_tubes(tokens: VideoTokens) -> list[int]:
    """Number of the first tube of each video, and behind them the number of all tubes."""
    starts = [0]
    for tubes, _, _ in tokens.shapes:
        starts.append(starts[-1] + tubes)
    return starts


def tube_of_token(tokens: VideoTokens) -> Tensor:
    """Number of the tube in which each token stands, int64 [N], rising."""
    return torch.tensor(first_tubes(tokens))[tokens.video] + tokens.tyx[:, 0]


def tokens_per_tube(tokens: VideoTokens) -> Tensor:
    """Number of tokens that stand in each tube, int64 [tubes]."""
    return torch.bincount(tube_of_token(tokens), minlength=first_tubes(tokens)[-1])


def cells_per_tube(tokens: VideoTokens) -> Tensor:
    """Number of cells of each tube, int64 [tubes]."""
    tubes, area = [t for t, _, _ in tokens.shapes], [h * w for _, h, w in tokens.shapes]
    return torch.tensor(area).repeat_interleave(torch.tensor(tubes))


def encoded_cells_per_tube(tokens: VideoTokens) -> Tensor:
    """Number of cells of each tube that a token of the same tube stands for, int64 [tubes]."""
    cells = cells_per_tube(tokens)
    of_cell = torch.arange(len(cells)).repeat_interleave(cells)
    shown = tokens.source >= 0
    own = tube_of_token(tokens)[tokens.source[shown]] == of_cell[shown]
    return torch.bincount(of_cell[shown][own], minlength=len(cells))


def tube_means(tokens: VideoTokens) -> Tensor:
    """Mean of the features of each tube's tokens, at least float32 [tubes, D], zeros where none stand."""
    features, count = tokens.features, tokens_per_tube(tokens)
    wide = features.to(torch.promote_types(features.dtype, torch.float32))
    tube = tube_of_token(tokens).to(features.device)
    total = wide.new_zeros(len(count), features.shape[1]).index_add(0, tube, wide)
    return total / count.clamp(min=1).to(wide)[:, None]


def merged_by(tokens: VideoTokens, segment: Tensor, *, mean: Mean = mean_of_segments) -> VideoTokens:
    """Merge tokens by segments of 0 and above, int64 [N]; the same object when each has a token of its own."""
    alone = len(torch.unique(segment)) == tokens.num_tokens
    return tokens if alone else tokens.merged(segment, mean=mean)
