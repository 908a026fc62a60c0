"""scene_divergence in plain torch: the law that every faster version is compared with."""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor

Kind = Literal["jensen_shannon", "reversed"]

VALUES_AT_ONCE = {"cpu": 1 << 16, "cuda": 1 << 24}  # what stays in a cache, and what keeps a GPU busy


def scene_divergence(p: Tensor, q: Tensor | None = None, *, kind: Kind = "jensen_shannon") -> Tensor:
    """Measure how far every distribution of p is from every distribution of q.

    With m = (p + q) / 2 per value:

    - "jensen_shannon": [KL(p || m) + KL(q || m)] / 2, in [0, ln 2], ln 2 for distributions that share nothing.
    - "reversed": [KL(m || p) + KL(m || q)] / 2, no upper bound, infinite where one gives 0 and the other does not.

    Args:
        p: distributions [N, V], floating point, no value below 0, rows that add up to 1 (to within 1 %).
        q: distributions [M, V]; None for p itself.
        kind: which divergence.

    Returns:
        Divergence in nats (natural logarithm), [N, M] float32 (float64 stays float64), no gradient. Symmetric to
        rounding, and exactly 0 for equal rows.

    Raises:
        ValueError: an unknown kind, shapes that do not match, or rows that are no distributions.

    Source: GRT (arXiv 2509.14199) stage 2 names the Jensen-Shannon divergence; "reversed" is what its released code
        computes. The form that does not cancel is ours.
    """
    if kind not in get_args(Kind):
        raise ValueError(f"kind is {kind!r}; it must be one of {get_args(Kind)}.")
    left = _distributions(p, "p")
    right = left if q is None else _distributions(q, "q")
    if left.shape[1] != right.shape[1]:
        raise ValueError(
            f"p is {tuple(p.shape)} and q is {tuple(right.shape)}; they must have as many columns."
        )
    terms, most = (_jensen_shannon, math.log(2)) if kind == "jensen_shannon" else (_reversed, math.inf)
    found = left.new_zeros(len(left), len(right))
    step = max(1, VALUES_AT_ONCE.get(left.device.type, VALUES_AT_ONCE["cuda"]) // max(len(right), 1))
    for start in range(0, left.shape[1], step):
        part = right[:, start : start + step]
        for number, row in enumerate(left[:, start : start + step]):
            found[number] += terms(row, part).sum(-1)
    return found.clamp(0, most)


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
    """What every value adds to the divergence, [M, V]: -s / 4 [log(1 + d) + log(1 - d)]."""
    total, skew = _sum_and_skew(p, q)
    return total * (torch.log1p(skew) + torch.log1p(-skew)) / -4


def _sum_and_skew(p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """s = p + q and d = (p - q) / s in [-1, 1], [M, V]; d is 0 where neither gives anything."""
    total = p + q
    return total, (p - q) / torch.where(total == 0, 1, total)


def _distributions(rows: Tensor, name: str) -> Tensor:
    """Take the rows to the accuracy of the sums, after looking that they are distributions."""
    if rows.ndim != 2 or not rows.is_floating_point():
        raise ValueError(
            f"{name} must be floating point [rows, values], got {rows.dtype} {tuple(rows.shape)}."
        )
    rows = rows.detach().to(torch.promote_types(rows.dtype, torch.float32))
    sums = rows.sum(1)
    bad = ~((sums - 1).abs() < 0.01) | (rows < 0).any(1)
    if bool(bad.any()):
        row = int(bad.nonzero()[0])
        raise ValueError(
            f"{name}[{row}] adds up to {sums[row]:.4g} with a least value of {rows[row].min():.4g}; a distribution has "
            "no value below 0 and adds up to 1: pass softmax, not logits."
        )
    return rows
