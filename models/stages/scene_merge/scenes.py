"""Scenes of a video: which tubes open one, what each one's key tokens say, and which scenes merge."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from framegate.errors import ConfigError
from framegate.kernels.backend import Backend
from framegate.kernels.scene_divergence import scene_divergence
from framegate.models.stages.scene_merge import SceneMergeConfig
from framegate.models.video_tokens import (
    VideoTokens,
    cells_per_tube,
    encoded_cells_per_tube,
    first_tubes,
    tokens_per_tube,
    tube_of_token,
)

Head = Callable[[Tensor], Tensor]


def key_tubes(tokens: VideoTokens, scene_cut_fraction: float) -> Tensor:
    """Tubes that open a scene, bool [tubes of all videos].

    These are the first tube of each video that has tokens, and those of which more than the fraction of the cells was
    encoded. Tubes before the first belong to its scene.
    """
    cells, starts = cells_per_tube(tokens), first_tubes(tokens)
    new = encoded_cells_per_tube(tokens)
    keys = new > scene_cut_fraction * cells
    count = tokens_per_tube(tokens)
    for first, behind in zip(starts, starts[1:], strict=False):
        keys[first + count[first:behind].nonzero()[:1, 0]] = True
    return keys & (count > 0)


def openings(tokens: VideoTokens, keys: Tensor) -> list[list[int]]:
    """Numbers of the key tubes of each video: its scenes, in order of time."""
    starts = first_tubes(tokens)
    return [
        (keys[first:behind].nonzero()[:, 0] + first).tolist()
        for first, behind in zip(starts, starts[1:], strict=False)
    ]


def scene_numbers(tokens: VideoTokens, keys: Tensor, roots: Sequence[Sequence[int]]) -> tuple[Tensor, ...]:
    """Merged scene of each tube, int64 [T] for each video, numbered by first appearance.

    Args:
        tokens: tokens of all videos.
        keys: tubes that open a scene, bool [tubes].
        roots: for each scene of each video the first scene of its group.
    """
    starts, found = first_tubes(tokens), []
    for first, behind, root in zip(starts, starts[1:], roots, strict=False):
        scene = (keys[first:behind].long().cumsum(0) - 1).clamp(min=0)
        number = torch.unique(torch.tensor([*root] or [0]), return_inverse=True)[1]
        found.append(number[scene])
    return tuple(found)


@torch.no_grad()
def scene_distributions(
    tokens: VideoTokens, keys: Tensor, config: SceneMergeConfig, head: Head | None
) -> list[Tensor]:
    """Distribution of each scene's mean key token, at least float32 [scenes, V] for each video; none for one scene.

    Raises:
        ConfigError: distribution is "head" and there is none.
    """
    if config.distribution == "head" and head is None:
        raise ConfigError(
            'scene_merge.distribution is "head", and this model has none (a model without its language-model head): '
            'set distribution="features".'
        )
    tube, features = tube_of_token(tokens), tokens.features
    found = []
    for opening in openings(tokens, keys):
        means = [_mean(features, tube, key) for key in opening if len(opening) > 1]
        middle = torch.stack(means) if means else features.new_zeros(0, features.shape[1])
        found.append(_distribution(middle, features, head if config.distribution == "head" else None))
    return found


def _mean(features: Tensor, tube: Tensor, number: int) -> Tensor:
    """Mean of the tokens of a tube, at least float32 [D]; those of a tube follow each other."""
    first, behind = torch.searchsorted(tube, torch.tensor([number, number + 1])).tolist()
    return features[first:behind].mean(0, dtype=torch.promote_types(features.dtype, torch.float32))


def _distribution(means: Tensor, features: Tensor, head: Head | None) -> Tensor:
    """Softmax of the head, or of each row's standardised values; [scenes, V]."""
    if head is None or not len(means):
        return layer_norm(means, means.shape[1:], eps=1e-12).softmax(1)
    return head(means.to(features.dtype)).to(means.dtype).softmax(1)


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
    """Merge scenes of a video, [S, V] in order of time, for as long as two of them are nearer than the threshold.

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
