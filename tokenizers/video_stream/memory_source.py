"""Frames in memory: arrays, tensors or pictures, checked once and handed out one at a time."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np

from framegate.errors import FrameError
from framegate.tokenizers.video_stream.pixels import View, resize
from framegate.types import Float64Array, Frame, Int64Array, UInt8Array, VideoInfo

# What transformers assumes when frames come without metadata.
ASSUMED_FPS = 24.0
WHAT_WORKS = (
    "give uint8 [F, h, w, 3] RGB, a torch tensor [F, h, w, 3] or [F, 3, h, w] (uint8, or float in [0, 1]), "
    "or a list of such frames or PIL images"
)


class MemoryFrames:
    """Frames of one size in memory; converted one at a time, so that nothing is copied as a whole.

    Args:
        source: uint8 or float [F, h, w, 3] array; torch tensor [F, h, w, 3] or [F, 3, h, w] (the former when
            both fit); or a sequence of single frames or PIL images.

    Raises:
        FrameError: another kind or shape, no frame, frames of differing shapes, values that are not finite or
            outside [0, 1]; the message names the frame.
    """

    def __init__(self, source: Any) -> None:
        self._source = source
        count = _count(source)
        if count == 0:
            raise FrameError(
                f"There are 0 frames in the {type(source).__name__}; {WHAT_WORKS}, with at least 1 frame."
            )
        self.count = count
        self.size_px = _frame(source[0], 0).shape[:2]
        for place in range(count):
            frame = _frame(source[place], place)
            if frame.shape[:2] != self.size_px:
                raise FrameError(
                    f"Frame {place} is {_size(frame.shape)}, frame 0 is {_size(self.size_px)} (height x "
                    "width); give frames of one size."
                )
            _check_values(frame, place)

    def __getitem__(self, place: int) -> UInt8Array:
        """uint8 [h, w, 3], frame of that index; it may share memory with the source."""
        frame = _frame(self._source[place], place)
        return frame if frame.dtype == np.uint8 else np.round(frame * 255).astype(np.uint8)


def describe(
    frames: MemoryFrames, timestamps_seconds: Sequence[float] | None, fps: float | None
) -> VideoInfo:
    """Say what is known of frames in memory.

    Args:
        frames: the frames.
        timestamps_seconds: time of each, not decreasing; None to count them.
        fps: rate to count them at; None for 24, with a warning.

    Returns:
        Their VideoInfo.

    Raises:
        FrameError: both given, a wrong number of times, times not finite or going back, fps not above 0.

    Source: ours.
    """
    if timestamps_seconds is not None and fps is not None:
        raise FrameError(f"Both timestamps_seconds and fps={fps} are given; give one of them.")
    if fps is not None and not (fps > 0 and np.isfinite(fps)):
        raise FrameError(f"fps is {fps}; it must be above 0 and finite.")
    if timestamps_seconds is not None:
        times = _checked_times(timestamps_seconds, frames.count)
    else:
        times = np.arange(frames.count) / (fps or ASSUMED_FPS)
    assumed = timestamps_seconds is None and fps is None
    step = float(np.median(np.diff(times))) if frames.count > 1 else 0.0
    return VideoInfo(
        source=None,
        width_px=frames.size_px[1],
        height_px=frames.size_px[0],
        frame_times_seconds=times,
        duration_seconds=float(times[-1]) + (step or 1 / (fps or ASSUMED_FPS)),
        codec="raw",
        warnings=(
            (
                f"Frames in memory came without times; {ASSUMED_FPS:g} frames per second were assumed. "
                "Give fps= or timestamps_seconds=.",
            )
            if assumed
            else ()
        ),
    )


def read_memory(frames: MemoryFrames, info: VideoInfo, wanted: Int64Array, view: View) -> Iterator[Frame]:
    """Hand the wanted frames out, one at a time.

    Args:
        frames: the frames.
        info: what `describe` said of them.
        wanted: int64 [F], not decreasing.
        view: size and format.

    Returns:
        Iterator over the frames in order; their pixels are copies.

    Source: ours.
    """
    for place in wanted.tolist():
        original = frames[place]
        pixels = original
        if view.pixel_format == "gray":
            pixels = cv2.cvtColor(original, cv2.COLOR_RGB2GRAY)
        if view.size_px is not None:
            pixels = resize(pixels, view.size_px)
        pixels = np.array(pixels, order="C") if np.may_share_memory(pixels, original) else pixels
        yield Frame(index=place, timestamp_seconds=float(info.frame_times_seconds[place]), pixels=pixels)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} x {shape[1]} px"


def _count(source: Any) -> int:
    shape = getattr(source, "shape", None)
    if shape is not None:
        if len(shape) != 4:
            raise FrameError(f"Frames have shape {tuple(shape)}; {WHAT_WORKS}.")
        return int(shape[0])
    if isinstance(source, list | tuple):
        return len(source)
    raise FrameError(
        f"Cannot read frames from a {type(source).__name__}; {WHAT_WORKS}, or the path of a video."
    )


def _frame(item: Any, place: int) -> np.ndarray[Any, Any]:
    """One frame as [h, w, 3], uint8 or floating point."""
    array = _to_numpy(item, place)
    if array.ndim == 3 and array.shape[-1] != 3 and array.shape[0] == 3:
        array = array.transpose(1, 2, 0)  # [h, w, 3]
    if array.ndim != 3 or array.shape[-1] != 3 or 0 in array.shape:
        raise FrameError(f"Frame {place} has shape {array.shape}, not [h, w, 3]; {WHAT_WORKS}.")
    if array.dtype != np.uint8 and not np.issubdtype(array.dtype, np.floating):
        raise FrameError(f"Frame {place} has dtype {array.dtype}; {WHAT_WORKS}.")
    return array


def _to_numpy(item: Any, place: int) -> np.ndarray[Any, Any]:
    if isinstance(item, np.ndarray):
        return item
    if hasattr(item, "detach") and hasattr(item, "cpu"):
        tensor = item.detach().cpu()
        # numpy has no bfloat16
        return np.asarray(tensor.float() if tensor.is_floating_point() else tensor)
    pillow = sys.modules.get("PIL.Image")
    if pillow is not None and isinstance(item, pillow.Image):
        return np.asarray(item.convert("RGB"))
    raise FrameError(f"Frame {place} is a {type(item).__name__}; {WHAT_WORKS}.")


def _check_values(frame: np.ndarray[Any, Any], place: int) -> None:
    if frame.dtype == np.uint8:
        return
    low, high = float(frame.min()), float(frame.max())
    if not np.isfinite(low + high):
        y, x, channel = np.argwhere(~np.isfinite(frame))[0]
        raise FrameError(
            f"Frame {place} holds {frame[y, x, channel]} at row {y}, column {x}; every value must be finite."
        )
    if low < 0 or high > 1:
        raise FrameError(
            f"Frame {place} has values from {low:g} to {high:g}; floating-point frames must lie in [0, 1] "
            "(divide by 255, or undo a normalisation)."
        )


def _checked_times(timestamps_seconds: Sequence[float], count: int) -> Float64Array:
    times = np.array([float(time) for time in timestamps_seconds], dtype=np.float64)
    if len(times) != count:
        raise FrameError(
            f"timestamps_seconds has {len(times)} entries for {count} frames; give one per frame."
        )
    broken = np.flatnonzero(~np.isfinite(times))
    if len(broken):
        raise FrameError(f"timestamps_seconds[{broken[0]}] is {times[broken[0]]}; every time must be finite.")
    back = np.flatnonzero(np.diff(times) < 0)
    if len(back):
        place = int(back[0]) + 1
        raise FrameError(
            f"Time stamps go back: timestamps_seconds[{place}] is {times[place]:g} "
            f"after {times[place - 1]:g}; sort the frames by time."
        )
    return times
