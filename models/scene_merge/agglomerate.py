"""Which scenes merge: pair after pair, the nearest first, each group known by the mean of its distributions."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from framegate.kernels.backend import Backend
from framegate.kernels.scene_divergence import scene_divergence
from framegate.models.scene_merge.config import SceneMergeConfig

Divergence = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Join:
    """Two groups of scenes that become one, each named by its first scene."""

    into: int
    gone: int
    divergence: float


@torch.no_grad()
def nearest_joins(
    distributions: Tensor, config: SceneMergeConfig, *, backend: Backend = "auto"
) -> list[Join]:
    """Merge scenes of a video for as long as two of them are nearer than the threshold.

    Args:
        distributions: [S, V], one row per scene, in order of time.
        config: divergence, its threshold, and whether scenes that are apart in time may merge.
        backend: how divergences are computed, "auto", "torch" or "triton".

    Returns:
        The joins in the order in which they were made, ties to the earlier pair.
    """
    mean, weight = distributions.clone(), torch.ones(len(distributions))
    alive = list(range(len(mean)))
    divergence = partial(scene_divergence, kind=config.divergence, backend=backend)
    apart = _all_pairs(mean, divergence, recurring=config.recurring)
    joins = []
    while len(alive) > 1:
        into, gone = divmod(int(apart.argmin()), len(mean))
        if not float(apart[into, gone]) < config.divergence_threshold:
            break
        joins.append(Join(into, gone, float(apart[into, gone])))
        mean[into] += (mean[gone] - mean[into]) * (weight[gone] / (weight[into] + weight[gone])).item()
        weight[into] += weight[gone]
        alive.remove(gone)
        apart[gone, :] = apart[:, gone] = math.inf
        _measure_again(apart, mean, into, _partners(into, alive, config.recurring), divergence)
    return joins


def near_to_the_one_before(
    distributions: Tensor, config: SceneMergeConfig, *, backend: Backend = "auto"
) -> list[bool]:
    """Tell which scenes are nearer than the threshold to the one before, as the released code does: without means."""
    pairs = zip(distributions[:-1, None], distributions[1:, None], strict=True)
    apart = [scene_divergence(p, q, kind=config.divergence, backend=backend).item() for p, q in pairs]
    return [False, *(value < config.divergence_threshold for value in apart)]


def _all_pairs(mean: Tensor, divergence: Divergence, *, recurring: bool) -> Tensor:
    """Divergence of every pair that may merge, above the diagonal of [S, S] on the CPU; infinite elsewhere."""
    count = len(mean)
    apart = torch.full((count, count), math.inf)
    for scene in range(count - 1):
        last = count if recurring else scene + 2
        apart[scene, scene + 1 : last] = divergence(mean[scene : scene + 1], mean[scene + 1 : last])[0].to(
            apart
        )
    return apart


def _partners(group: int, alive: list[int], recurring: bool) -> list[int]:
    """Groups with which a group may merge: all others, or those just before and after it."""
    if recurring:
        return [other for other in alive if other != group]
    rank = alive.index(group)
    return alive[max(rank - 1, 0) : rank] + alive[rank + 1 : rank + 2]


def _measure_again(
    apart: Tensor, mean: Tensor, group: int, partners: list[int], divergence: Divergence
) -> None:
    """Write the divergences of a group whose mean has changed, in place."""
    if partners:
        found = divergence(mean[group : group + 1], mean[partners])[0].to(apart)
        for other, value in zip(partners, found, strict=True):
            apart[min(group, other), max(group, other)] = value
