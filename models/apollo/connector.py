"""The connector: encoders of clips resampled to one grid, joined, projected, and read by learned queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from framegate.errors import ConfigError
from framegate.models.apollo.encoders import check_clips
from framegate.models.apollo.resampler import Resampler


class ApolloConnector(nn.Module):
    """Turns clips into so many tokens each, as wide as a language model's.

    Every encoder's features are interpolated to one grid of tubes, rows and columns and joined by channel; a projector
    with a GELU brings them to the model's width, and a `Resampler` reads each clip by itself. What stands between the
    clips of a prompt is text: sampler "apollo" writes their times.

    Args:
        encoders: modules that turn clips [N, F, 3, h, w] into features [N, `channels`, T, rows, columns];
            `FrameEncoder` and `ClipEncoder` make ones of towers. The paper's are an image and a video tower.
        width: of the language model.
        grid: tubes, rows and columns of the shared grid, the paper's.
        queries: tokens of a clip.
        heads: of the resampler, as `Resampler` has it, with its other settings.
        kv_heads: the same.
        head_dim: the same.
        depth: the same.

    Raises:
        ConfigError: no encoder, one that tells no channels, or a number below 1.

    Source: Apollo (arXiv 2412.10360). The released projector is named mlp1x_gelu; its two linear layers here are ours.
    """

    def __init__(
        self,
        encoders: Sequence[nn.Module],
        width: int,
        *,
        grid: tuple[int, int, int] = (4, 27, 27),
        queries: int = 128,
        depth: int = 1,
        heads: int = 16,
        kv_heads: int = 4,
        head_dim: int = 96,
    ) -> None:
        super().__init__()
        channels: list[Any] = [getattr(encoder, "channels", None) for encoder in encoders]
        if not channels or None in channels or min(grid) < 1:
            raise ConfigError(
                f"The encoders' channels are {channels} and the grid is {grid}; give at least one encoder that has "
                "`channels`, such as FrameEncoder(tower), and a grid of at least 1."
            )
        self.encoders, self.grid = nn.ModuleList(encoders), tuple(grid)
        self.project = nn.Sequential(nn.Linear(sum(channels), width), nn.GELU(), nn.Linear(width, width))
        self.resample = Resampler(
            width, queries=queries, depth=depth, heads=heads, kv_heads=kv_heads, head_dim=head_dim
        )

    def forward(self, clips: Tensor) -> Tensor:
        """Make tokens of clips.

        Args:
            clips: float [N, F, 3, h, w] in [0, 1]; a picture is a clip of one frame.

        Returns:
            [N, queries, width]; the tokens of a clip depend on it alone.

        Raises:
            FrameError: another shape or dtype.
        """
        check_clips(clips)
        shared = [
            nn.functional.interpolate(encoder(clips), self.grid, mode="trilinear", align_corners=False)
            for encoder in self.encoders
        ]
        joined = torch.cat(shared, 1).flatten(2).transpose(1, 2)  # [N, T*rows*columns, C]
        out: Tensor = self.resample(self.project(joined))
        return out

    @staticmethod
    def media(tokens: Tensor) -> dict[str, Any]:
        """Spell tokens [N, K, D] as a stock transformers model takes them, its `mm_encoder_outputs`: a video a clip."""
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        return {"video": BaseModelOutputWithPooling(pooler_output=list(tokens))}
