"""The tower's frame size, by the stock size rules, and frames brought to it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch

from framegate.errors import FrameError
from framegate.models.video_processor.settings import VideoSettings, stock_values, video_settings
from framegate.tokenizers.down_scaling import scaled_px
from framegate.tokenizers.plan_config import PlanConfig
from framegate.types import UInt8Array, VideoInfo

_FRAMES_AT_ONCE = 16
_MAX_ASPECT = 200


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

    Source: smart_resize of transformers' Qwen2VLVideoProcessor and Qwen3VLVideoProcessor.
    """
    if min(height_px, width_px) < settings.layout.cell_px:
        raise FrameError(
            f"Frames of {height_px} x {width_px} px are smaller than one cell of {settings.layout.cell_px} px; give "
            "larger frames."
        )
    if settings.judged is not None:
        return _square_rule(height_px, width_px, settings)
    if not settings.do_resize:
        return height_px, width_px
    if settings.counts_time:
        return _video_rule(num_frames, height_px, width_px, settings)
    return _frame_rule(num_frames, height_px, width_px, settings)


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

    Source: ours; the rule's lower bound (min_pixels) does not hold below the budget.
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

    Source: ours; the defaults are transformers'.
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


def _square_rule(height: int, width: int, settings: VideoSettings) -> tuple[int, int]:
    """LLaVA-OneVision: every frame to one square, whatever its shape."""
    side = math.isqrt(settings.max_pixels)
    if not settings.do_resize and (height, width) != (side, side):
        raise FrameError(
            f"Frames of {height} x {width} px with do_resize=False; this tower takes {side} x {side}."
        )
    return side, side


def _frame_rule(num_frames: int, height: int, width: int, settings: VideoSettings) -> tuple[int, int]:
    """Qwen2-VL: pixels are counted per frame."""
    factor, most, least = settings.layout.cell_px, settings.max_pixels, settings.min_pixels
    if settings.cap_pixels_per_frame:
        total = int(settings.max_video_tokens * factor * factor * 0.9)
        share = total * settings.layout.temporal_patch_size // num_frames
        most = max(min(most, share), int(least * 1.05))
    _check_aspect(height, width)
    rows, columns = round(height / factor) * factor, round(width / factor) * factor
    if rows * columns > most:
        return _shrunk(height, width, math.sqrt(height * width / most), factor)
    if rows * columns < least:
        return _grown(height, width, math.sqrt(least / (height * width)), factor)
    return rows, columns


def _video_rule(num_frames: int, height: int, width: int, settings: VideoSettings) -> tuple[int, int]:
    """Qwen3-VL: pixels are counted over all frames."""
    factor, tube = settings.layout.cell_px, settings.layout.temporal_patch_size
    num_frames = max(num_frames, tube)  # a single frame is repeated to fill its tube
    most, least = settings.max_pixels, settings.min_pixels
    if settings.cap_pixels_per_frame:
        cap = settings.max_video_tokens * factor * factor
        most = max(min(cap, most // num_frames), int(least * 1.05)) * num_frames
    if height < factor or width < factor:
        scale = max(factor / height, factor / width)
        height, width = int(height * scale), int(width * scale)
    _check_aspect(height, width)
    rows, columns = round(height / factor) * factor, round(width / factor) * factor
    frames = round(num_frames / tube) * tube
    if frames * rows * columns > most:
        return _shrunk(height, width, math.sqrt(num_frames * height * width / most), factor)
    if frames * rows * columns < least:
        return _grown(height, width, math.sqrt(least / (num_frames * height * width)), factor)
    return rows, columns


def _shrunk(height: int, width: int, beta: float, factor: int) -> tuple[int, int]:
    rows, columns = (math.floor(side / beta / factor) * factor for side in (height, width))
    return max(factor, rows), max(factor, columns)


def _grown(height: int, width: int, beta: float, factor: int) -> tuple[int, int]:
    return math.ceil(height * beta / factor) * factor, math.ceil(width * beta / factor) * factor


def _check_aspect(height: int, width: int) -> None:
    if not height or not width:
        raise FrameError(f"Frames of {height} x {width} px hold no pixel.")
    if max(height, width) / min(height, width) > _MAX_ASPECT:
        raise FrameError(
            f"Frames of {height} x {width} px: one side may be at most {_MAX_ASPECT} times the other."
        )
