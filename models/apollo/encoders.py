"""Encoders of clips behind one face: image towers frame by frame, and video towers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from framegate.errors import ConfigError, FrameError


class FrameEncoder(nn.Module):
    """An image tower of transformers or timm, run on every frame of a clip.

    Args:
        tower: a vision model of transformers (SigLIP, CLIP, DINOv2, ...) or a vision transformer of timm.
        mean: of pixels in [0, 1], by which its training scaled them.
        deviation: the same.

    Raises:
        ConfigError: a tower that tells no size of picture, or no patch, or, when called, has no token for each patch.
    """

    def __init__(
        self, tower: nn.Module, *, mean: Sequence[float] = (0.5,) * 3, deviation: Sequence[float] = (0.5,) * 3
    ) -> None:
        super().__init__()
        self.tower: Any = tower
        self.side_px, self.side = _sizes(tower)
        self.channels = _channels(tower)
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation)[:, None, None], persistent=False)

    def forward(self, clips: Tensor) -> Tensor:
        """Encode clips [N, F, 3, h, w] in [0, 1] into features [N, C, F, rows, columns]."""
        frames = _scaled(clips.flatten(0, 1), self)
        if hasattr(self.tower, "forward_features"):
            rows = self.tower.forward_features(frames)
        else:
            rows = self.tower(pixel_values=frames).last_hidden_state
        # a tower's class and register tokens stand before its patches
        tokens = _last(rows, self.side**2, self.tower)
        patches = tokens.unflatten(1, (self.side, self.side))  # [N*F, rows, columns, C]
        return patches.unflatten(0, clips.shape[:2]).permute(0, 4, 1, 2, 3)


class ClipEncoder(nn.Module):
    """A video tower of transformers (VideoMAE, V-JEPA 2, ViViT, ...), run on whole clips.

    A clip of another length than the tower's has frames repeated, or left out, evenly.

    Args:
        tower: its tokens are those of tubes, tube by tube, maybe behind a class token.
        mean: of pixels in [0, 1], by which its training scaled them.
        deviation: the same.

    Raises:
        ConfigError: a tower that tells no size of picture, patch or tube, or no number of frames, or, when called, has
            no token for each patch of each tube.
    """

    def __init__(
        self,
        tower: nn.Module,
        *,
        mean: Sequence[float] = (0.485, 0.456, 0.406),
        deviation: Sequence[float] = (0.229, 0.224, 0.225),
    ) -> None:
        super().__init__()
        self.tower: Any = tower
        self.side_px, self.side = _sizes(tower)
        self.channels = _channels(tower)
        self.frames = _told(tower, "num_frames", "frames_per_clip")
        self.tubes = self.frames // _told(tower, "tubelet_size", "temporal_patch_size", place=0)
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation)[:, None, None], persistent=False)

    def forward(self, clips: Tensor) -> Tensor:
        """Encode clips [N, F, 3, h, w] in [0, 1] into features [N, C, tubes, rows, columns]."""
        count = clips.shape[1]
        places = (torch.arange(self.frames, device=clips.device) * count + count // 2) // self.frames
        frames = _scaled(clips[:, places].flatten(0, 1), self).unflatten(0, (len(clips), self.frames))
        name: Any = self.tower.main_input_name
        rows = self.tower(**{name: frames}).last_hidden_state
        shape = (self.tubes, self.side, self.side)
        tokens = _last(rows, self.tubes * self.side**2, self.tower)
        return tokens.unflatten(1, shape).permute(0, 4, 1, 2, 3)


def _last(rows: Tensor, count: int, tower: Any) -> Tensor:
    """The last tokens of a tower [N, count, C], a token for each patch."""
    if rows.ndim != 3 or rows.shape[1] < count:
        raise ConfigError(
            f"{type(tower).__name__} gives {tuple(rows.shape)} for {count} patches: a tower that joins patches on "
            "its way (Swin, PVT) has no token for each; take a plain vision transformer, or wrap it in a module with "
            "`channels` that gives features [N, C, T, rows, columns]."
        )
    return rows[:, -count:]


def _scaled(frames: Tensor, encoder: Any) -> Tensor:
    """Frames [M, 3, h, w] at an encoder's size, as its training scaled them."""
    size = (encoder.side_px, encoder.side_px)
    resized = nn.functional.interpolate(frames, size, mode="bilinear", antialias=True, align_corners=False)
    return (resized - encoder.mean) / encoder.deviation


def _sizes(tower: Any) -> tuple[int, int]:
    """Pixels and patches along the side of a tower's pictures."""
    if hasattr(tower, "patch_embed") and hasattr(tower, "forward_features"):
        return int(tower.patch_embed.img_size[0]), int(tower.patch_embed.grid_size[0])
    side_px = _told(tower, "image_size", "crop_size")
    # the tubes of a ViViT are its patches: frames, rows, columns
    return side_px, side_px // _told(tower, "patch_size", "tubelet_size")


def _channels(tower: Any) -> int:
    return int(tower.num_features) if hasattr(tower, "forward_features") else int(tower.config.hidden_size)


def _told(tower: Any, *names: str, place: int = -1) -> int:
    """The first of some settings that a tower's configuration has; the number at a place where it is one per side."""
    config = getattr(tower, "config", None)
    for name in names:
        value = getattr(config, name, None)
        if value is not None:
            one: Any = value[place] if isinstance(value, list | tuple) else value
            return int(one)
    asked = type(tower if config is None else config).__name__
    raise ConfigError(
        f"{asked} has no {' or '.join(names)}, so how the tower cuts a clip is not known; wrap it in a module with "
        "`channels` that gives features [N, C, T, rows, columns]."
    )


def check_clips(clips: Tensor) -> None:
    """Raise FrameError for what is no batch of clips."""
    if clips.ndim != 5 or clips.shape[2] != 3 or 0 in clips.shape or not clips.is_floating_point():
        raise FrameError(
            f"Clips are {clips.dtype} {tuple(clips.shape)}; give floats [N, F, 3, h, w] in [0, 1], F at least 1."
        )
