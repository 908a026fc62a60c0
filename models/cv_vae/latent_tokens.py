"""A video VAE's latents as the tokens of a video: what a language model reads is the compressed video itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from framegate.errors import ConfigError, FrameError
from framegate.models.cv_vae.video_vae import CausalVideoVAE
from framegate.models.video_tokens import VideoTokens


class LatentVideoTokens(nn.Module):
    """Cuts latents into squares and projects them to a language model's width, one token each.

    A token is a cell like any other, so that the stages of a front end (selecting, merging) work on it.

    Args:
        vae: makes the latents; used as it is, without gradients while it is frozen.
        width: features of a token, those of the language model.
        patch: latents along the side of a token's square.

    Raises:
        ConfigError: a width or patch below 1.

    Source: ours, after CV-VAE (arXiv 2405.20279), whose latents feed generators; one linear layer as in a ViT.
    """

    def __init__(self, vae: CausalVideoVAE, width: int, *, patch: int = 2) -> None:
        super().__init__()
        if width < 1 or patch < 1:
            raise ConfigError(f"width is {width} and patch {patch}; both must be at least 1.")
        self.vae, self.patch = vae, patch
        self.norm = nn.LayerNorm(vae.channels * patch**2)
        self.project = nn.Linear(vae.channels * patch**2, width)

    def forward(self, pixels: Tensor, *, window_frames: int | None = None) -> VideoTokens:
        """Encode videos of one size and make tokens of them.

        Args:
            pixels: float [B, 3, 1 + 4 k, h, w] in [-1, 1].
            window_frames: as in `CausalVideoVAE.encode`.

        Returns:
            Tokens of B videos, 1 + k tubes each.

        Raises:
            FrameError: pixels that the VAE does not take, or sides that do not divide into tokens.
        """
        latents = self.vae.encode(pixels, window_frames=window_frames)
        batch, _, tubes, *sides = latents.shape
        if any(side % self.patch for side in sides):
            raise FrameError(
                f"Latents are {sides[0]} x {sides[1]}, and a token takes {self.patch} x {self.patch}: frames need "
                f"sides that {8 * self.patch} px divides."
            )
        squares = latents.unflatten(4, (-1, self.patch)).unflatten(
            3, (-1, self.patch)
        )  # [B, C, T, H, p, W, p]
        rows = squares.permute(0, 2, 3, 5, 1, 4, 6).flatten(4).flatten(0, 3)  # [B*T*H*W, C*p*p]
        cells = torch.arange(len(rows))
        shape = (tubes, sides[0] // self.patch, sides[1] // self.patch)
        return VideoTokens.of_cells(
            [self.project(self.norm(rows))], torch.ones(len(rows), dtype=torch.bool), cells, [shape] * batch
        )

    @staticmethod
    def media(tokens: VideoTokens) -> dict[str, Any]:
        """Spell tokens as a stock transformers model takes them, its `mm_encoder_outputs`; one placeholder each."""
        from transformers.modeling_outputs import BaseModelOutputWithPooling

        return {"video": BaseModelOutputWithPooling(pooler_output=list(tokens.features.split(tokens.counts)))}
