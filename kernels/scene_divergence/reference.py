"""scene_divergence in plain torch: the law that every faster version is compared with."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

Kind = Literal["jensen_shannon", "reversed"]

VALUES_AT_ONCE = {"cpu": 1 << 16, "cuda": 1 << 24}  # what stays in a cache, and what keeps a GPU busy


def divergences(p: Tensor, q: Tensor, kind: Kind) -> Tensor:
    """Sum up the divergence of every row of p [N, V] from every row of q [M, V], [N, M] in at least float32."""
    left, right = (rows.to(torch.promote_types(rows.dtype, torch.float32)) for rows in (p, q))
    terms = _jensen_shannon if kind == "jensen_shannon" else _reversed
    found = left.new_zeros(len(left), len(right))
    step = max(1, VALUES_AT_ONCE.get(left.device.type, VALUES_AT_ONCE["cuda"]) // max(len(right), 1))
    for start in range(0, left.shape[1], step):
        part = right[:, start : start + step]
        for number, row in enumerate(left[:, start : start + step]):
            found[number] += terms(row, part).sum(-1)
    return found.clamp(0, most_of(kind))


def most_of(kind: Kind) -> float:
    """The upper bound of a kind, which sums may pass by a rounding."""
    return math.log(2) if kind == "jensen_shannon" else math.inf


def _jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """What every value of p [V] and of each row of q [M, V] adds to their divergence, [M, V].

    With s = p + q and d = (p - q) / s the sum of both KL terms is s / 2 * [log(1 - d^2) + 2 d atanh(d)]: two terms of
    second order in d, where p log(p / m) + q log(q / m) has terms of first order that cancel.
    """
    total, skew = _sum_and_skew(p, q)
    apart = skew.abs() == 1
    inner = torch.where(apart, 0, skew)
    bits = torch.log1p(-inner.square()) + 2 * inner * torch.atanh(inner)
    bits = torch.where(apart, 2 * math.log(2), bits)
    return total * bits / 4


def _reversed(p: Tensor, q: Tensor) -> Tensor:
    """What every value adds to the divergence, [M, V]: -s / 4 [log(1 + d) + log(1 - d)].

    Far from 0, where d could round to 1 although neither value is 0, 1 + d and 1 - d are taken as 2p / s and 2q / s.
    """
    total, skew = _sum_and_skew(p, q)
    near = skew.abs() <= 0.5
    inner = torch.where(near, skew, 0)
    divisor = torch.where(total == 0, 1, total)
    far = torch.log(2 * p / divisor) + torch.log(2 * q / divisor)
    return total * torch.where(near, torch.log1p(inner) + torch.log1p(-inner), far) / -4


def _sum_and_skew(p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """s = p + q and d = (p - q) / s in [-1, 1], [M, V]; d is 0 where neither gives anything."""
    total = p + q
    return total, (p - q) / torch.where(total == 0, 1, total)
