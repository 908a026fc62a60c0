"""Which scenes merge: pair after pair, the nearest first, each group known by the mean of its distributions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from framegate.kernels.scene_divergence import scene_divergence
from framegate.models.scene_merge.config import SceneMergeConfig


@dataclass(frozen=True)
class Join:
    """Two groups of scenes that become one, each named by its first scene."""

    into: int
    gone: int
    divergence: float


@torch.no_grad()
def nearest_joins(distributions: Tensor, config: SceneMergeConfig) -> list[Join]:
    """Merge scenes of a video for as long as two of them are nearer than the threshold.

    Args:
        distributions: [S, V], one row per scene, in order of time.
        config: divergence, its threshold, and whether scenes that are apart in time may merge.

    Returns:
        The joins in the order in which they were made, ties to the earlier pair.
    """
    mean, weight = distributions.clone(), torch.ones(len(distributions))
    alive = list(range(len(mean)))
    apart = _all_pairs(mean, config)
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
        _measure_again(apart, mean, into, _partners(into, alive, config.recurring), config)
    return joins


def near_to_the_one_before(distributions: Tensor, config: SceneMergeConfig) -> list[bool]:
    """Tell which scenes are nearer than the threshold to the one before, as the released code does: without means."""
    pairs = zip(distributions[:-1, None], distributions[1:, None], strict=True)
    apart = [scene_divergence(p, q, kind=config.divergence).item() for p, q in pairs]
    return [False, *(value < config.divergence_threshold for value in apart)]


def _all_pairs(mean: Tensor, config: SceneMergeConfig) -> Tensor:
    """Divergence of every pair that may merge, above the diagonal of [S, S] on the CPU; infinite elsewhere."""
    count = len(mean)
    apart = torch.full((count, count), math.inf)
    for scene in range(count - 1):
        last = count if config.recurring else scene + 2
        apart[scene, scene + 1 : last] = scene_divergence(
            mean[scene : scene + 1], mean[scene + 1 : last], kind=config.divergence
        )[0].to(apart)
    return apart


def _partners(group: int, alive: list[int], recurring: bool) -> list[int]:
    """Groups with which a group may merge: all others, or those just before and after it."""
    if recurring:
        return [other for other in alive if other != group]
    rank = alive.index(group)
    return alive[max(rank - 1, 0) : rank] + alive[rank + 1 : rank + 2]


def _measure_again(
    apart: Tensor, mean: Tensor, group: int, partners: list[int], config: SceneMergeConfig
) -> None:
    """Write the divergences of a group whose mean has changed, in place."""
    if partners:
        found = scene_divergence(mean[group : group + 1], mean[partners], kind=config.divergence)[0].to(apart)
        for other, value in zip(partners, found, strict=True):
            apart[min(group, other), max(group, other)] = value
