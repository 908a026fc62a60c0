"""The causal video VAE: an image VAE whose layers look back in time, 4 frames and 8 x 8 pixels to a latent."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from framegate.errors import ConfigError, FrameError
from framegate.models.cv_vae.causal import CausalConv, Downsample, Memory, Upsample, enlarged, per_frame

FRAMES_PER_LATENT, PX_PER_LATENT = 4, 8
CONFIG_NAME, WEIGHTS_NAME = "video_vae_config.json", "video_vae.safetensors"
# of the three steps by which an image VAE halves its sides, those that halve the frames as well
_IN_TIME = (0, 2)


class CausalVideoVAE(nn.Module):
    """Encodes 1 + 4 k frames into 1 + k latents of a few channels, each for 8 x 8 pixels, and decodes them again.

    The first convolution of every residual block looks two frames back, the rest works frame by frame (the paper's
    2-D + 3-D blocks): no latent depends on a later frame, and a video in windows gives what it gives whole. Made from
    an image VAE it is that model on single frames, to the bit.

    Args:
        image_vae: diffusers' AutoencoderKL that halves its sides three times; it is copied.

    Raises:
        ConfigError: another kind of model, one with attention between its residual blocks, or one that reduces sides by
            another factor than 8.

    Source: CV-VAE (arXiv 2405.20279). Ours: a decoder that is causal too and has no attention over time, and norms and
        attention of single frames, where the released ones pool over the frames of a window.
    """

    def __init__(self, image_vae: Any) -> None:
        super().__init__()
        _check_image_vae(image_vae)
        self.image_config = dict(image_vae.config)
        copy = deepcopy(image_vae)
        self.encoder, self.decoder = copy.encoder, copy.decoder
        self.quant_conv, self.post_quant_conv = copy.quant_conv, copy.post_quant_conv
        for coder in (self.encoder, self.decoder):
            for block in _residual_blocks(coder):
                block.conv1 = CausalConv(block.conv1)
        for level, block in enumerate(self.encoder.down_blocks[:-1]):
            every = 2 if level in _IN_TIME else 1
            block.downsamplers[0] = Downsample(CausalConv(block.downsamplers[0].conv), every=every)
        for level, block in enumerate(self.decoder.up_blocks[:-1]):
            if level in _IN_TIME:
                block.upsamplers[0] = Upsample(block.upsamplers[0].conv)
            else:
                block.upsamplers[0] = CausalConv(block.upsamplers[0].conv)
        self.requires_grad_(True)

    @classmethod
    def from_image_vae(cls, image_vae: Any) -> Self:
        """Inflate an image VAE, diffusers' AutoencoderKL; arguments and errors as those of the class."""
        return cls(image_vae)

    @property
    def channels(self) -> int:
        """Channels of a latent."""
        return int(self.image_config["latent_channels"])

    def encode(self, pixels: Tensor, *, window_frames: int | None = None) -> Tensor:
        """Encode videos into the means of their latents.

        Args:
            pixels: float [B, 3, 1 + 4 k, h, w] in [-1, 1], h and w multiples of 8.
            window_frames: frames encoded at once, a multiple of 4, the first window one longer; None for all. The
                outcome does not depend on it but for rounding, memory does.

        Returns:
            Latents [B, C, 1 + k, h / 8, w / 8].

        Raises:
            FrameError: another shape; the message names the nearest one that works.
            ConfigError: window_frames is no multiple of 4.
        """
        _check_pixels(pixels, is_first=True)
        windows = _windows(pixels, window_frames, FRAMES_PER_LATENT)
        return torch.cat(list(self.encode_stream(windows)), 2)

    def encode_stream(self, windows: Iterable[Tensor]) -> Iterator[Tensor]:
        """Encode a video that comes in windows, 1 + 4 k frames first, then 4 k in each; yields the latents of each.

        Raises:
            FrameError: a window of another shape.
        """
        memory: Memory = {}
        for window in windows:
            yield self._mean(self._moments(window, memory))

    def moments(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of the latents of whole videos, for training; otherwise as `encode`."""
        parts = self._moments(pixels, {})
        return self._mean(parts), parts.chunk(2, 1)[1].clamp(-30, 20)

    def decode(self, latents: Tensor, *, window_latents: int | None = None) -> Tensor:
        """Decode latents into frames.

        Args:
            latents: [B, C, 1 + k, h, w].
            window_latents: latents decoded at once, the first window one longer; None for all. It changes memory alone.

        Returns:
            Pixels [B, 3, 1 + 4 k, 8 h, 8 w].

        Raises:
            FrameError: another shape.
            ConfigError: window_latents below 1.
        """
        return torch.cat(list(self.decode_stream(_windows(latents, window_latents, 1))), 2)

    def decode_stream(self, windows: Iterable[Tensor]) -> Iterator[Tensor]:
        """Decode latents that come in windows; yields the frames of each. Raises FrameError for another shape."""
        memory: Memory = {}
        for window in windows:
            if window.ndim != 5 or window.shape[1] != self.channels or window.shape[2] < 1:
                raise FrameError(
                    f"Latents are {tuple(window.shape)}; this VAE decodes [B, {self.channels}, T, h, w]."
                )
            video = window.transpose(1, 2).contiguous()
            if self.post_quant_conv is not None:
                video = per_frame(self.post_quant_conv, video)
            yield _decoded(self.decoder, video, memory).transpose(1, 2)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the image VAE's configuration and all weights into a folder, which is made when it is not there."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / CONFIG_NAME).write_text(json.dumps(self.image_config, indent=2, default=str) + "\n")
        weights = {name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()}
        save_file(weights, Path(folder) / WEIGHTS_NAME)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Read back what `save_pretrained` wrote.

        Raises:
            ConfigError: files that are missing or damaged, or weights of another width than the configuration's.
        """
        from diffusers import AutoencoderKL

        path = Path(folder)
        try:
            config = json.loads((path / CONFIG_NAME).read_text())
            weights = load_file(path / WEIGHTS_NAME)
        except (OSError, ValueError, SafetensorError) as error:
            raise ConfigError(
                f"{str(folder)!r} holds no video VAE that can be read ({error}); save_pretrained writes "
                f"{CONFIG_NAME} and {WEIGHTS_NAME}."
            ) from error
        made = cls(AutoencoderKL.from_config(config))
        wrong = _misfits(weights, made.state_dict())
        if wrong:
            raise ConfigError(f"The weights in {str(folder)!r} are not those of its {CONFIG_NAME}: {wrong}.")
        made.load_state_dict(weights)
        return made.eval()

    def _moments(self, pixels: Tensor, memory: Memory) -> Tensor:
        _check_pixels(pixels, is_first=not memory)
        parts = _encoded(self.encoder, pixels.transpose(1, 2).contiguous(), memory)
        if self.quant_conv is not None:
            parts = per_frame(self.quant_conv, parts)
        return parts.transpose(1, 2)

    def _mean(self, moments: Tensor) -> Tensor:
        return moments.chunk(2, 1)[0]


def _encoded(encoder: Any, video: Tensor, memory: Memory) -> Tensor:
    """Run the blocks of diffusers' encoder on [B, T, C, h, w]."""
    video = per_frame(encoder.conv_in, video)
    for block in encoder.down_blocks:
        for resnet in block.resnets:
            video = _residual(resnet, video, memory)
        for down in block.downsamplers or ():
            video = down(video, memory)
    return _out(encoder, _middle(encoder.mid_block, video, memory))


def _decoded(decoder: Any, video: Tensor, memory: Memory) -> Tensor:
    """Run the blocks of diffusers' decoder on [B, T, C, h, w]."""
    video = _middle(decoder.mid_block, per_frame(decoder.conv_in, video), memory)
    for block in decoder.up_blocks:
        for resnet in block.resnets:
            video = _residual(resnet, video, memory)
        for up in block.upsamplers or ():
            video = up(video if isinstance(up, Upsample) else per_frame(enlarged, video), memory)
    return _out(decoder, video)


def _middle(block: Any, video: Tensor, memory: Memory) -> Tensor:
    video = _residual(block.resnets[0], video, memory)
    for attention, resnet in zip(block.attentions, block.resnets[1:], strict=True):
        if attention is not None:
            video = per_frame(attention, video)
        video = _residual(resnet, video, memory)
    return video


def _residual(block: Any, video: Tensor, memory: Memory) -> Tensor:
    """A residual block of diffusers, of which the first convolution looks back."""
    inner = block.conv1(per_frame(lambda frames: block.nonlinearity(block.norm1(frames)), video), memory)
    inner = per_frame(
        lambda frames: block.conv2(block.dropout(block.nonlinearity(block.norm2(frames)))), inner
    )
    direct = video if block.conv_shortcut is None else per_frame(block.conv_shortcut, video)
    return (direct + inner) / block.output_scale_factor


def _out(coder: Any, video: Tensor) -> Tensor:
    return per_frame(lambda frames: coder.conv_out(coder.conv_act(coder.conv_norm_out(frames))), video)


def _residual_blocks(coder: Any) -> list[Any]:
    sides = coder.down_blocks if hasattr(coder, "down_blocks") else coder.up_blocks
    return [resnet for block in (*sides, coder.mid_block) for resnet in block.resnets]


def _check_image_vae(image_vae: Any) -> None:
    encoder: Any = getattr(image_vae, "encoder", None)
    blocks = getattr(encoder, "down_blocks", None)
    if blocks is None or not hasattr(encoder.mid_block, "resnets"):
        raise ConfigError(f"{type(image_vae).__name__} is no image VAE; give diffusers' AutoencoderKL.")
    kinds = {type(block).__name__ for block in (*blocks, *image_vae.decoder.up_blocks)}
    others = sorted(kinds - {"DownEncoderBlock2D", "UpDecoderBlock2D"})
    if others:
        raise ConfigError(
            f"The image VAE has {', '.join(others)}; levels of residual blocks alone are made causal, "
            "DownEncoderBlock2D and UpDecoderBlock2D."
        )
    factor = 2 ** (len(blocks) - 1)
    if factor != PX_PER_LATENT:
        raise ConfigError(
            f"The image VAE has {len(blocks)} levels, {factor} x {factor} pixels to a latent; 4 levels are needed, "
            f"{PX_PER_LATENT} x {PX_PER_LATENT} pixels."
        )


def _check_pixels(pixels: Tensor, *, is_first: bool) -> None:
    if pixels.ndim != 5 or pixels.shape[1] != 3 or not pixels.is_floating_point():
        raise FrameError(
            f"Pixels are {pixels.dtype} {tuple(pixels.shape)}; give floats [B, 3, T, h, w] in [-1, 1]."
        )
    frames, height, width = pixels.shape[2:]
    lead = 1 if is_first else 0
    if frames < 1 or (frames - lead) % FRAMES_PER_LATENT:
        below = max((frames - lead) // FRAMES_PER_LATENT, 1 - lead) * FRAMES_PER_LATENT + lead
        wanted = "1 + 4 k" if is_first else "4 k, after the first window"
        raise FrameError(
            f"{frames} frames; a latent stands for {FRAMES_PER_LATENT}, the first for one alone: give {wanted}, for "
            f"example {below} or {below + FRAMES_PER_LATENT}."
        )
    if height % PX_PER_LATENT or width % PX_PER_LATENT or not height or not width:
        raise FrameError(
            f"Frames are {height} x {width} px; a latent stands for {PX_PER_LATENT} x {PX_PER_LATENT}: scale or cut "
            f"them to {_multiple(height)} x {_multiple(width)} px."
        )


def _multiple(side_px: int) -> int:
    return max(side_px // PX_PER_LATENT, 1) * PX_PER_LATENT


def _windows(video: Tensor, length: int | None, multiple: int) -> Iterator[Tensor]:
    """Cut [B, C, T, h, w] in time: 1 + length, then length in each; all of it for None."""
    if length is None or video.ndim != 5:
        yield video
        return
    if length < 1 or length % multiple:
        raise ConfigError(f"A window of {length} does not divide into latents; use a multiple of {multiple}.")
    yield video[:, :, : 1 + length]
    for start in range(1 + length, video.shape[2], length):
        yield video[:, :, start : start + length]


def _misfits(weights: dict[str, Tensor], wanted: dict[str, Tensor]) -> str:
    """The first weight that is missing, too many or of another shape, in words; empty for none."""
    for name in sorted(weights.keys() ^ wanted.keys()):
        return f"{name} is {'too many' if name in weights else 'missing'}"
    for name, value in wanted.items():
        if weights[name].shape != value.shape:
            return f"{name} is {tuple(weights[name].shape)}, and {tuple(value.shape)} is wanted"
    return ""
