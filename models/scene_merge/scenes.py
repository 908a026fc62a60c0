"""Scenes of a video: which tubes open one, and what each one's key tokens say."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from framegate.errors import ConfigError
from framegate.models.scene_merge.config import SceneMergeConfig
from framegate.models.video_tokens import VideoTokens
from framegate.models.video_tokens.tubes import (
    cells_per_tube,
    encoded_cells_per_tube,
    first_tubes,
    tokens_per_tube,
    tube_of_token,
)

Head = Callable[[Tensor], Tensor]


def key_tubes(tokens: VideoTokens, scene_cut_fraction: float, encoded: Tensor | None = None) -> Tensor:
    """Tubes that open a scene, bool [tubes of all videos].

    These are the first tube of each video that has tokens, and those of which more than the fraction of the cells was
    encoded: is stood for by a token of the same tube, or by what `encoded` says, bool [C]. Tubes before the first
    belong to its scene.
    """
    cells, starts = cells_per_tube(tokens), first_tubes(tokens)
    new = encoded_cells_per_tube(tokens)
    if encoded is not None:
        new = torch.bincount(torch.arange(len(cells)).repeat_interleave(cells)[encoded], minlength=len(cells))
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
