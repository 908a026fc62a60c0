"""How large towers see a video: the size rules of stock processors, as `SizeRule`."""

from __future__ import annotations

import math
from dataclasses import replace

from framegate.errors import FrameError
from framegate.models.family import VideoSettings

_MAX_ASPECT = 200


def square_rule(num_frames: int, height: int, width: int, settings: VideoSettings) -> tuple[int, int]:
    """Every frame to one square, whatever its shape; FrameError where it may not be resized and is none."""
    side = math.isqrt(settings.max_pixels)
    if not settings.do_resize and (height, width) != (side, side):
        raise FrameError(
            f"Frames of {height} x {width} px with do_resize=False; this tower takes {side} x {side}."
        )
    return side, side


def frame_rule(num_frames: int, height: int, width: int, settings: VideoSettings) -> tuple[int, int]:
    """Pixels are counted per frame: smart_resize of transformers' Qwen2VLVideoProcessor."""
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


def video_rule(num_frames: int, height: int, width: int, settings: VideoSettings) -> tuple[int, int]:
    """Pixels are counted over all frames: smart_resize of transformers' Qwen3VLVideoProcessor."""
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


def shared_rule(num_frames: int, height: int, width: int, settings: VideoSettings) -> tuple[int, int]:
    """The most pixels are shared by the frames: smart_resize of transformers' VideoLlama3VideoProcessor."""
    shared = replace(settings, max_pixels=settings.max_pixels // num_frames, cap_pixels_per_frame=False)
    return frame_rule(num_frames, height, width, shared)


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
