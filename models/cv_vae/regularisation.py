"""What keeps a video VAE's latents those of the image VAE: its frozen decoder, or encoder, has to agree with them."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from framegate.errors import ConfigError, FrameError
from framegate.models.cv_vae.video_vae import FRAMES_PER_LATENT, PX_PER_LATENT, CausalVideoVAE

Mapping = Literal["random", "average", "slice", "first"]


def frames_of_latents(
    pixels: Tensor, *, mapping: Mapping = "random", generator: torch.Generator | None = None
) -> Tensor:
    """Choose a frame for every latent: the first frame for the first, one of each four for the others.

    Args:
        pixels: [B, C, 1 + 4 k, h, w].
        mapping: "random" draws one of each four, "slice" takes the last, "first" the first, "average" their mean.
        generator: of random numbers, on the CPU; None for torch's own.

    Returns:
        [B, C, 1 + k, h, w].

    Raises:
        FrameError: another number of frames.
        ConfigError: an unknown mapping.

    Source: CV-VAE (arXiv 2405.20279), whose best mapping is "random".
    """
    if mapping not in get_args(Mapping):
        raise ConfigError(f"mapping is {mapping!r}; it must be one of {get_args(Mapping)}.")
    if pixels.ndim != 5 or (pixels.shape[2] - 1) % FRAMES_PER_LATENT:
        raise FrameError(f"Pixels are {tuple(pixels.shape)}; give [B, C, 1 + 4 k, h, w].")
    fours = pixels[:, :, 1:].unflatten(2, (-1, FRAMES_PER_LATENT))  # [B, C, k, 4, h, w]
    if mapping == "average":
        chosen = fours.mean(3)
    elif mapping == "random":
        drawn = torch.randint(FRAMES_PER_LATENT, fours.shape[2:3], generator=generator).to(pixels.device)
        chosen = fours[:, :, torch.arange(len(drawn), device=pixels.device), drawn]
    else:
        chosen = fours[:, :, :, 0 if mapping == "first" else -1]
    return torch.cat([pixels[:, :, :1], chosen], 2)


def decoder_regularisation(
    latents: Tensor,
    pixels: Tensor,
    *,
    image_vae: Any,
    mapping: Mapping = "random",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Measure how far the frozen image decoder's pictures of the video's latents are from its frames.

    Args:
        latents: of the video VAE, [B, C, 1 + k, h / 8, w / 8]; gradients go to them alone.
        pixels: the video, [B, 3, 1 + 4 k, h, w].
        image_vae: diffusers' AutoencoderKL, frozen by the caller.
        mapping: as in `frames_of_latents`.
        generator: as in `frames_of_latents`.

    Returns:
        Mean absolute difference, a scalar.

    Raises:
        FrameError: latents or pixels of other shapes.

    Source: CV-VAE, its decoder form, the one that the paper chooses.
    """
    wanted = frames_of_latents(pixels, mapping=mapping, generator=generator)
    batch, _, count, height, width = wanted.shape
    sides = (height // PX_PER_LATENT, width // PX_PER_LATENT)
    if latents.ndim != 5 or (len(latents), *latents.shape[2:]) != (batch, count, *sides):
        raise FrameError(
            f"Latents are {tuple(latents.shape)}, of pixels {tuple(pixels.shape)}; give one per four frames and "
            f"{PX_PER_LATENT} x {PX_PER_LATENT} px, [{batch}, C, {count}, {sides[0]}, {sides[1]}]."
        )
    shown = image_vae.decode(_by_itself(latents)).sample
    return (shown - _by_itself(wanted)).abs().mean()


def encoder_regularisation(
    pixels: Tensor,
    *,
    video_vae: CausalVideoVAE,
    image_vae: Any,
    mapping: Mapping = "random",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Measure how far the video decoder's frames are from the video, given the frozen image encoder's latents.

    Args:
        pixels: the video, [B, 3, 1 + 4 k, h, w].
        video_vae: whose decoder learns.
        image_vae: diffusers' AutoencoderKL, frozen by the caller.
        mapping: as in `frames_of_latents`.
        generator: as in `frames_of_latents`.

    Returns:
        Mean squared difference, a scalar.

    Raises:
        FrameError: pixels of another shape.

    Source: CV-VAE, its encoder form.
    """
    frames = frames_of_latents(pixels, mapping=mapping, generator=generator)
    with torch.no_grad():
        latents = image_vae.encode(_by_itself(frames)).latent_dist.mode()
    latents = latents.unflatten(0, (len(frames), -1)).transpose(1, 2)
    return (video_vae.decode(latents) - pixels).square().mean()


def _by_itself(video: Tensor) -> Tensor:
    """Pictures [B * T, C, h, w] of [B, C, T, h, w]."""
    return video.transpose(1, 2).flatten(0, 1)
