"""The spatiotemporal module: a thin shell around attention over tube means, and row and column embeddings."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from framegate.errors import ConfigError
from framegate.models.spatiotemporal.config import SpatiotemporalConfig
from framegate.models.spatiotemporal.embeddings import side_embedding, time_embedding
from framegate.models.video_tokens import VideoTokens
from framegate.models.video_tokens.tubes import first_tubes, tokens_per_tube, tube_means, tube_of_token


class SpatiotemporalModule(nn.Module):
    """Tells tokens what the other tubes of their video show, and where in the picture they stand.

    z = y + g_time * attention(norm(tube means + time))[tube] + g_space * (row + column). Both gates start at 0: the
    module then leaves every bit as it is, and the gates have gradients, so that it can be trained.

    Args:
        width: features of a token, D; a multiple of config.time_heads.
        config: the settings.

    Raises:
        ConfigError: a width that is no multiple of time_heads.

    Source: ours; KFFocus (arXiv 2508.08989) names the module, and its details were not recovered.
    """

    def __init__(self, width: int, config: SpatiotemporalConfig) -> None:
        super().__init__()
        if width < 1 or width % config.time_heads:
            raise ConfigError(
                f"spatiotemporal.time_heads is {config.time_heads}; it must divide the model's width of {width}."
            )
        self.width, self.config = width, config
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, config.time_heads, batch_first=True)
        self.rows = nn.Parameter(torch.randn(config.max_side, width) * width**-0.5)
        self.columns = nn.Parameter(torch.randn(config.max_side, width) * width**-0.5)
        self.time_gate = nn.Parameter(torch.zeros(()))
        self.space_gate = nn.Parameter(torch.zeros(()))

    def forward(self, tokens: VideoTokens, times_seconds: Sequence[Tensor] | None = None, /) -> VideoTokens:
        """Add what time and space tell to what enters the language model.

        Args:
            tokens: tokens of all videos, as wide as the module.
            times_seconds: time of each tube, [T] for each video; None takes the tube's number for it.

        Returns:
            The same tokens with other features, in their dtype; the other layers stay. Each video as if it were alone.

        Raises:
            ConfigError: tokens of another width, or not one time per tube.
        """
        if tokens.features.shape[1] != self.width:
            raise ConfigError(
                f"The spatiotemporal module is {self.width} wide and the model's tokens are "
                f"{tokens.features.shape[1]}: it was made for another model."
            )
        added = self.time_gate * self._over_time(tokens, times_seconds) + self.space_gate * self._in_space(
            tokens
        )
        return tokens.with_features(tokens.features + added.to(tokens.features))

    def _over_time(self, tokens: VideoTokens, times_seconds: Sequence[Tensor] | None) -> Tensor:
        """What each token's tube learns from the tubes of its video that hold tokens, [N, D]."""
        starts, times = first_tubes(tokens), _times(tokens, times_seconds)
        means = tube_means(tokens).to(self.rows)
        # in float32 whatever the weights are: half an hour in bfloat16 is right to 8 seconds
        moments = time_embedding(torch.cat(times).to(means.device, torch.float32), self.width).to(means)
        learned = torch.zeros_like(means)
        present = tokens_per_tube(tokens) > 0
        for first, behind in zip(starts, starts[1:], strict=False):
            mine = (present[first:behind].nonzero()[:, 0] + first).to(means.device)
            if len(mine):
                seen = self.norm(means[mine] + moments[mine])[None]  # [1, S, D]
                learned = learned.index_put(
                    (mine,), self.attention(seen, seen, seen, need_weights=False)[0][0]
                )
        return learned[tube_of_token(tokens).to(means.device)]

    def _in_space(self, tokens: VideoTokens) -> Tensor:
        """Row and column embedding of each token, [N, D]."""
        found, (video, place) = [], (tokens.video, tokens.tyx.to(self.rows.device))
        for number, (_, rows, columns) in enumerate(tokens.shapes):
            _, row, column = place[(video == number).to(place.device)].T
            found.append(side_embedding(self.rows, row, rows) + side_embedding(self.columns, column, columns))
        return torch.cat(found)


def _times(tokens: VideoTokens, times_seconds: Sequence[Tensor] | None) -> list[Tensor]:
    """Time of each tube of each video, checked; the tubes' numbers where none are given."""
    tubes = [shape[0] for shape in tokens.shapes]
    if times_seconds is None:
        return [torch.arange(count) for count in tubes]
    if [tuple(times.shape) for times in times_seconds] != [(count,) for count in tubes]:
        raise ConfigError(
            f"times_seconds are {[tuple(times.shape) for times in times_seconds]}; the videos have {tubes} tubes, and "
            "each tube needs one time."
        )
    return list(times_seconds)
