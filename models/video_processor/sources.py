"""What a caller may hand over as a video, brought to two forms: a path with its window, or uint8 frames."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers.video_utils import make_batched_videos

from framegate.errors import FrameError
from framegate.models.towers.patches import CHANNELS
from framegate.types import UInt8Array

_GRAY_OR_RGB = (1, CHANNELS)


class ClipPath(str):
    """A path that carries a clip window through transformers' processors, which pass plain strings on.

    Args:
        path: file or address.
        start_seconds: start of the window, None for the beginning.
        end_seconds: end of the window, None for the end.
    """

    start_seconds: float | None
    end_seconds: float | None

    def __new__(
        cls, path: str | Path, start_seconds: float | None = None, end_seconds: float | None = None
    ) -> ClipPath:
        """Make the string and put the window beside it."""
        clip = super().__new__(cls, os.fspath(path).removeprefix("file://"))
        clip.start_seconds, clip.end_seconds = start_seconds, end_seconds
        return clip

    @property
    def window_seconds(self) -> tuple[float | None, float | None]:
        """Start and end of the window."""
        return self.start_seconds, self.end_seconds


def with_clip_paths(conversation: Any) -> Any:
    """Replace the paths of a conversation by paths that carry `video_start` and `video_end`.

    Args:
        conversation: messages, or a batch of them, as `apply_chat_template` takes them; not changed.

    Returns:
        The same with a ClipPath wherever a video block holds a path.

    Source: ours; the keys are those of qwen-vl-utils.
    """
    if isinstance(conversation, Mapping):
        content = conversation.get("content")
        if not isinstance(content, list | tuple):
            return conversation
        return {**conversation, "content": [_with_clip_path(block) for block in content]}
    if isinstance(conversation, list | tuple):
        return [with_clip_paths(part) for part in conversation]
    return conversation


def without_path_objects(videos: Any) -> Any:
    """Spell Path objects as strings, at any depth: transformers drops them from lists otherwise."""
    if isinstance(videos, Path):
        return str(videos)
    if isinstance(videos, list | tuple):
        return [without_path_objects(video) for video in videos]
    return videos


def flat_videos(videos: Any) -> list[Any]:
    """Flatten what `videos=` may be.

    Args:
        videos: one video or any nesting of them: path, frames as array or tensor, list of pictures or of
            their paths.

    Returns:
        One entry per video: a string, a list of pictures or of their paths, or frames [F, ., ., .].

    Raises:
        FrameError: something that is no video.

    Source: ours, after transformers.video_utils.make_batched_videos.
    """
    try:
        flat: list[Any] = make_batched_videos(without_path_objects(videos))
    except (ValueError, IndexError, TypeError) as error:
        raise FrameError(
            f"videos is a {type(videos).__name__} that holds no video; pass paths, uint8 frames [F, h, w, 3] "
            "or lists of pictures."
        ) from error
    return flat


def as_frames(video: Any, input_data_format: Any = None) -> UInt8Array:
    """Bring frames in memory to one form.

    Args:
        video: torch tensor or array [F, h, w, c] or [F, c, h, w] with c 1 or 3, or a list of pictures or of
            their paths; uint8, or floating point in 0 to 255.
        input_data_format: "channels_first" or "channels_last"; None looks for an axis of 1 or 3.

    Returns:
        uint8 [F, h, w, 3].

    Raises:
        FrameError: a wrong shape, pictures of several sizes, no frame, or values that are no pixels.

    Source: ours.
    """
    frames = _stacked(video) if isinstance(video, list | tuple) else _numpy(video)
    if frames.ndim != 4 or 0 in frames.shape:
        raise FrameError(f"A video needs frames [F, h, w, 3] with F > 0, got shape {frames.shape}.")
    frames = _channels_last(frames, input_data_format)
    frames = frames if frames.dtype == np.uint8 else _whole_pixels(frames)
    return frames if frames.shape[-1] == CHANNELS else np.repeat(frames, CHANNELS, axis=-1)


def _with_clip_path(block: Any) -> Any:
    if not isinstance(block, Mapping) or block.get("type") != "video":
        return block
    window = block.get("video_start"), block.get("video_end")
    return {
        key: ClipPath(value, *window)
        if key in ("video", "url", "path") and isinstance(value, str | Path)
        else value
        for key, value in block.items()
    }


def _stacked(pictures: Sequence[Any]) -> np.ndarray[Any, Any]:
    from PIL import Image

    opened = [Image.open(part).convert("RGB") if isinstance(part, str | Path) else part for part in pictures]
    arrays = [_numpy(part.convert("RGB") if isinstance(part, Image.Image) else part) for part in opened]
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) != 1:
        raise FrameError(f"The pictures of one video must share a size, got {shapes[:4]}.")
    return np.stack(arrays)


def _numpy(value: Any) -> np.ndarray[Any, Any]:
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value
        return np.asarray(value.numpy())
    return np.asarray(value)


def _channels_last(frames: np.ndarray[Any, Any], input_data_format: Any) -> np.ndarray[Any, Any]:
    wanted = getattr(input_data_format, "value", input_data_format)
    first = frames.shape[1] in _GRAY_OR_RGB if wanted is None else wanted == "channels_first"
    frames = np.moveaxis(frames, 1, -1) if first else frames
    if frames.shape[-1] not in _GRAY_OR_RGB:
        raise FrameError(
            f"Frames need 1 or 3 channels, got shape {frames.shape}; drop an alpha channel first."
        )
    return frames


def _whole_pixels(frames: np.ndarray[Any, Any]) -> UInt8Array:
    finite = np.isfinite(frames).all(axis=(1, 2, 3))
    if not finite.all():
        raise FrameError(f"Frame {int(np.flatnonzero(~finite)[0])} holds NaN or infinite values.")
    low, high = float(frames.min()), float(frames.max())
    if low < 0 or high > 255 or (high <= 1 and np.issubdtype(frames.dtype, np.floating) and high > 0):
        raise FrameError(
            f"Pixels must be 0 to 255, got {low:g} to {high:g}; multiply by 255, or undo the scaling."
        )
    return np.rint(frames).astype(np.uint8)
