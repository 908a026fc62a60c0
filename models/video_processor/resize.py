"""The tower's frame size, by the stock size rules, and frames brought to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

from framegate.errors import FrameError
from framegate.models.family import VideoSettings
from framegate.models.video_processor.settings import stock_values, video_settings
from framegate.tokenizers.down_scaling import scaled_px
from framegate.tokenizers.plan_config import PlanConfig
from framegate.types import UInt8Array, VideoInfo

_FRAMES_AT_ONCE = 16


def tower_size_px(num_frames: int, height_px: int, width_px: int, settings: VideoSettings) -> tuple[int, int]:
    """Find the size at which the tower sees a video.

    Args:
        num_frames: frames that go in.
        height_px: of the source.
        width_px: of the source.
        settings: the size rule.

    Returns:
        Height and width, multiples of a cell.

    Raises:
        FrameError: a side is smaller than one cell, one side is more than 200 times the other, or, without resizing, no
            multiple of a cell or not the square that the tower takes.
    """
    if min(height_px, width_px) < settings.layout.cell_px:
        raise FrameError(
            f"Frames of {height_px} x {width_px} px are smaller than one cell of {settings.layout.cell_px} px; give "
            "larger frames."
        )
    if settings.judged is None and not settings.do_resize:
        return height_px, width_px
    return settings.size_rule(num_frames, height_px, width_px, settings)


def paid_size_px(
    full_px: tuple[int, int], num_frames: int, settings: VideoSettings, config: PlanConfig
) -> tuple[int, int]:
    """Find the size that the budget pays for, where it is met by smaller frames.

    Args:
        full_px: height and width by the family's own rule.
        num_frames: frames that go in.
        settings: size of cells and tubes.
        config: what decides on frames and cells.

    Returns:
        Height and width, multiples of a cell; full_px where nothing is made smaller.

    Raises:
        BudgetError: less than one token per tube.

    The rule's lower bound (min_pixels) does not hold below the budget.
    """
    if not config.down_scaling:
        return full_px
    tubes, (rows, columns) = -(-num_frames // settings.layout.temporal_patch_size), settings.cells_of(full_px)
    return scaled_px(
        full_px,
        cell_px=settings.layout.cell_px,
        num_tubes=tubes,
        tokens=config.budget.most(tubes * rows * columns),
    )


def stock_geometry(
    model_type: str, size: Mapping[str, int]
) -> tuple[int, int, Callable[[VideoInfo, int], tuple[int, int]]]:
    """Describe what a family's video processor does to a video, without one.

    LLaVA-OneVision's tower does not see the last 6 of its 384 px; the size given here is that of whole frames, so its
    plan comes near what an attached processor decides, and is not the very same.

    Args:
        model_type: the family.
        size: bounds of the size rule, "shortest_edge" and "longest_edge" in pixels; empty for the class's defaults.

    Returns:
        Side of a cell in pixels, frames per tube, and the size rule (video and number of frames to height, width).

    Raises:
        AttachmentError: no such family here.
    """
    settings = video_settings(model_type, stock_values(model_type, {"size": dict(size)} if size else None))

    def size_px(info: VideoInfo, num_frames: int) -> tuple[int, int]:
        tower_px = tower_size_px(num_frames, info.height_px, info.width_px, settings)
        if settings.judged is None:
            return tower_px
        return settings.judged.judged_px, settings.judged.judged_px

    return settings.cell_layout.cell_px, settings.layout.temporal_patch_size, size_px


def resize_frames(frames: UInt8Array, size_px: tuple[int, int], resample: str = "bicubic") -> UInt8Array:
    """Scale frames as the stock processor does (its resize ends in the same torch kernel).

    Args:
        frames: uint8 [F, h, w, 3].
        size_px: height and width to reach.
        resample: "bicubic" or "bilinear", with antialiasing.

    Returns:
        uint8 [F, height, width, 3].

    Source: torchvision.transforms.v2.functional.resize.
    """
    if frames.shape[1:3] == size_px:
        return frames
    out = np.empty((len(frames), *size_px, frames.shape[3]), dtype=np.uint8)
    for first in range(0, len(frames), _FRAMES_AT_ONCE):
        chunk = torch.from_numpy(np.ascontiguousarray(frames[first : first + _FRAMES_AT_ONCE]))
        planes = chunk.permute(0, 3, 1, 2).contiguous()  # [f, 3, h, w]
        scaled = torch.nn.functional.interpolate(planes, size_px, mode=resample, antialias=True)
        out[first : first + _FRAMES_AT_ONCE] = scaled.permute(0, 2, 3, 1).numpy()
    return out
