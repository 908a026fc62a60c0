"""Layers of a 2-D network made causal in time: each sees its frame as before, and two frames before it by new weights.

A 3 x 3 x 3 kernel that looks back alone is a 2-D kernel on the frame itself plus one on the two frames before it. Kept
apart like that the first is the image model's own, and a single frame goes through the very same arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn import functional

# frames that a causal layer looks back: those of a kernel of three
FRAMES_BACK = 2
# what each causal layer remembers of the frames so far, [B, 2, C, h, w]; empty before the first frame
Memory = dict[nn.Module, Tensor]


def per_frame(layer: Callable[[Tensor], Tensor], video: Tensor) -> Tensor:
    """Run a 2-D layer on every frame of [B, T, C, h, w] by itself."""
    return layer(video.flatten(0, 1)).unflatten(0, video.shape[:2])


class CausalConv(nn.Module):
    """A 2-D convolution that also sees the two frames before; before the first frame that one repeats.

    Args:
        now: the image model's convolution, which stays this layer's part on the frame itself.
    """

    def __init__(self, now: nn.Conv2d) -> None:
        super().__init__()
        self.now = now
        self.before = nn.Conv2d(
            FRAMES_BACK * now.in_channels,
            now.out_channels,
            now.kernel_size,  # type: ignore[arg-type]
            now.stride,  # type: ignore[arg-type]
            now.padding,  # type: ignore[arg-type]
            bias=False,
        )
        nn.init.zeros_(self.before.weight)
        self.before.to(now.weight.device, now.weight.dtype)

    def forward(self, video: Tensor, memory: Memory, *, every: int = 1) -> Tensor:
        """Convolve [B, T, C, h, w], for every frame or for every second one, the very first among them."""
        is_first = self not in memory
        back = video[:, :1].expand(-1, FRAMES_BACK, -1, -1, -1) if is_first else memory[self]
        seen = torch.cat([back, video], 1)  # [B, 2 + T, C, h, w]
        memory[self] = seen[:, -FRAMES_BACK:]
        start, end = (0 if is_first else every - 1), video.shape[1]
        before = torch.cat([seen[:, start + step : end + step : every] for step in range(FRAMES_BACK)], 2)
        return per_frame(self.now, video[:, start::every]) + per_frame(self.before, before)


class Downsample(nn.Module):
    """Half the rows and columns, and where `every` is 2 half the frames after the first.

    Args:
        conv: the image model's convolution of stride 2, made causal.
        every: frames of the input for one of the output.
    """

    def __init__(self, conv: CausalConv, *, every: int) -> None:
        super().__init__()
        self.conv, self.every = conv, every

    def forward(self, video: Tensor, memory: Memory) -> Tensor:
        """Sample down [B, T, C, h, w]."""
        # as diffusers pads a stride of 2
        return self.conv(functional.pad(video, (0, 1, 0, 1)), memory, every=self.every)


class Upsample(nn.Module):
    """Twice the rows and columns, and two frames for each one after the first.

    Args:
        conv: the image model's convolution behind its enlargement. It makes the later frame of a pair, a copy of it the
            earlier one.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.late, self.early = CausalConv(conv), CausalConv(deepcopy(conv))

    def forward(self, video: Tensor, memory: Memory) -> Tensor:
        """Sample up [B, T, C, h, w]; the very first frame has no earlier one."""
        is_first = self.late not in memory
        large = per_frame(enlarged, video)
        early, late = self.early(large, memory), self.late(large, memory)
        if is_first and video.shape[1] == 1:
            return late  # in the layout of the image model's, on which the last bit depends
        pairs = torch.stack([early, late], 2).flatten(1, 2)
        return pairs[:, 1:] if is_first else pairs


def enlarged(frames: Tensor) -> Tensor:
    """Twice the rows and columns of [N, C, h, w], each repeated."""
    return functional.interpolate(frames, scale_factor=2.0, mode="nearest")
