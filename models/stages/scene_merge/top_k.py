"""The released code's second stage: the best tokens of every tube, nothing averaged."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from framegate.errors import ConfigError
from framegate.models.stages.scene_merge import SceneMergeConfig
from framegate.models.video_tokens import VideoTokens, cells_per_tube, tokens_per_tube, tube_of_token


def keep_best(
    tokens: VideoTokens,
    surviving: Tensor,
    config: SceneMergeConfig,
    *,
    scores: Tensor | None,
    floor: Sequence[int] | None,
) -> VideoTokens:
    """Keep the best tokens of every tube, in their order; the cells of the others are shown by none.

    Args:
        tokens: tokens of all videos.
        surviving: key tubes that did not merge, bool [tubes]; their tokens score 1 + norm / largest norm of the tube.
        config: top_k_ratio and top_k_minimum, which a floor replaces.
        scores: motion score of each token, [N]; None for the change of its features against the tube before.
        floor: number of tokens to leave in each video: every tube's best one, then every tube's like share; None for
            the ratio.

    Raises:
        ConfigError: scores that are not one finite number per token.
    """
    score = _key_scores(tokens, surviving, _scores(tokens, scores))
    rank, count = _rank_in_tube(tokens, score)
    if floor is None:
        least = (count * config.top_k_ratio - 1e-9).ceil().long().clamp(min=config.top_k_minimum)
        keep = rank < least
    else:
        keep = _first_by_share(tokens, rank, count, score, floor)
    return tokens.kept(keep)


def _scores(tokens: VideoTokens, scores: Tensor | None) -> Tensor:
    """Look at the scores that were given, or measure change; float [N] on the CPU."""
    if scores is None:
        return _change(tokens)
    if scores.shape != (tokens.num_tokens,) or not bool(scores.isfinite().all()):
        raise ConfigError(
            f"scores is {tuple(scores.shape)}; it must hold one finite number for each of {tokens.num_tokens} tokens."
        )
    return scores.detach().float().cpu()


@torch.no_grad()
def _change(tokens: VideoTokens) -> Tensor:
    """Distance of each token from the one that stood for its cell a tube before, over the tube's largest; [N].

    1 where none did.
    """
    features, device = tokens.features, tokens.features.device
    tube = tube_of_token(tokens)
    before = tokens.cell - cells_per_tube(tokens)[tube]
    shown = torch.where(tokens.tyx[:, 0] > 0, tokens.source[before.clamp(min=0)], -1)
    known = (shown >= 0).nonzero()[:, 0]
    change = (features[known.to(device)].float() - features[shown[known].to(device)].float()).norm(dim=1)
    score = torch.ones(tokens.num_tokens)
    score[known] = _over_largest(change.cpu(), tube[known])
    return score


def _key_scores(tokens: VideoTokens, surviving: Tensor, score: Tensor) -> Tensor:
    """Put the tokens of surviving key tubes above all others of their video, [N]."""
    tube = tube_of_token(tokens)
    inside = surviving[tube].nonzero()[:, 0]
    norms = tokens.features.detach()[inside.to(tokens.features.device)].float().norm(dim=1).cpu()
    return score.index_put((inside,), 1 + _over_largest(norms, tube[inside]))


def _over_largest(values: Tensor, tube: Tensor) -> Tensor:
    """Divide values of 0 and above by the largest of their tube; 0 where all are."""
    largest = torch.zeros(int(tube.max()) + 1 if len(tube) else 0)
    largest = largest.scatter_reduce(0, tube, values, "amax")[tube]
    return values / torch.where(largest > 0, largest, 1)


def _rank_in_tube(tokens: VideoTokens, score: Tensor) -> tuple[Tensor, Tensor]:
    """Rank of each token in its tube, the best first, ties to the earlier cell; and the tube's tokens; int64 [N]."""
    tube, per_tube = tube_of_token(tokens), tokens_per_tube(tokens)
    order = score.argsort(descending=True, stable=True)
    order = order[tube[order].argsort(stable=True)]
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order))
    return rank - (per_tube.cumsum(0) - per_tube)[tube], per_tube[tube]


def _first_by_share(
    tokens: VideoTokens, rank: Tensor, count: Tensor, score: Tensor, floor: Sequence[int]
) -> Tensor:
    """The tokens of each video that come first when every tube gives the same share of its own, bool [N]."""
    share = torch.where(rank == 0, 0.0, (rank + 0.5) / count)
    order = score.argsort(descending=True, stable=True)
    order = order[share[order].argsort(stable=True)]
    keep, video = torch.zeros(len(rank), dtype=torch.bool), tokens.video
    for number, wanted in enumerate(floor):
        mine = order[video[order] == number]
        keep[mine[:wanted]] = True
    return keep
