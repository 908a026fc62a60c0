"""Condensation under a floor: the least relevant tubes first, and the last one only in part."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from framegate.models.video_tokens import VideoTokens
from framegate.models.video_tokens.tubes import tokens_per_tube, tube_of_token


def above_floor(
    tokens: VideoTokens, segment: Tensor, order: Sequence[Sequence[int]], floor: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Pool tube after tube for as long as every video keeps its floor.

    Args:
        tokens: tokens of all videos.
        segment: area of each token, int64 [N], no area in two tubes.
        order: the tubes of each video that may be pooled, the first one first.
        floor: fewest tokens to leave in each video.

    Returns:
        Segment of each token, int64 [N], its area's or one of its own; and the tubes pooled whole, bool [tubes].
    """
    tube, count = tube_of_token(tokens), tokens_per_tube(tokens)
    of_area = torch.zeros(int(segment.max()) + 1 if len(segment) else 0, dtype=torch.long)
    of_area[segment] = tube
    saving = (count - torch.bincount(of_area, minlength=len(count))).tolist()
    ends = count.cumsum(0).tolist()
    found = len(of_area) + torch.arange(len(segment))
    whole = torch.zeros(len(count), dtype=torch.bool)
    for video, present in enumerate(tokens.counts):
        spare = present - floor[video]
        for number in order[video]:
            if spare <= 0:
                break
            inside = slice(ends[number] - int(count[number]), ends[number])
            whole[number] = saving[number] <= spare
            pooled = torch.ones(int(count[number]), dtype=torch.bool)
            if not whole[number]:
                pooled = _partly(tokens.features[inside].detach(), segment[inside], spare)
            found[inside] = torch.where(pooled, segment[inside], found[inside])
            spare -= saving[number]
    return found, whole


def _partly(features: Tensor, segment: Tensor, spare: int) -> Tensor:
    """Tokens [n] to pool so that exactly `spare` tokens of a tube are saved, less than all its areas save."""
    areas, area = torch.unique(segment, return_inverse=True)
    members = torch.bincount(area)
    apart = _distance_from_mean(features, area, members)
    spread = torch.zeros(len(areas), dtype=apart.dtype).index_add(0, area, apart) / members
    order = spread.argsort(stable=True)
    saved = (members[order] - 1).cumsum(0)
    fitting = int((saved <= spare).sum())
    pooled = torch.isin(area, order[:fitting])
    left = spare - (int(saved[fitting - 1]) if fitting else 0)
    if left:
        inside = (area == order[fitting]).nonzero()[:, 0]
        pooled[inside[apart[inside].argsort(stable=True)[: left + 1]]] = True
    return pooled


def _distance_from_mean(features: Tensor, area: Tensor, members: Tensor) -> Tensor:
    """Squared distance of each row [n, D] from its area's mean, [n] on the CPU."""
    wide = features.to(torch.promote_types(features.dtype, torch.float32))
    where = area.to(features.device)
    total = wide.new_zeros(len(members), wide.shape[1]).index_add(0, where, wide)
    return (wide - (total / members.to(wide)[:, None])[where]).square().sum(1).cpu()
