"""Frames in memory: arrays, tensors, pictures or their paths, checked once and handed out one at a time."""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from framegate.errors import FrameError, VideoError
from framegate.tokenizers.caps import NO_CAPS, Caps
from framegate.tokenizers.clip.address import fetched
from framegate.tokenizers.clip.pictures import (
    DEEP_WHITE,
    EIGHT_BITS_IN_MODE_I,
    WHITE,
    decoded,
    is_picture,
    picture_size,
    stored_size,
    white_of,
)
from framegate.tokenizers.clip.pixels import View, brought
from framegate.types import Float64Array, Frame, Int64Array, UInt8Array, VideoInfo

# What transformers assumes when frames come without metadata.
ASSUMED_FPS = 24.0
CHANNELS = (1, 3)
# Floating-point frames whose highest value is above 1 and below this are told apart by their fractions.
DARK = 16
WHAT_WORKS = (
    "give frames [F, h, w, 3], [F, 3, h, w] or grey [F, h, w], as numpy array or torch tensor (whole numbers in 0 to "
    "255, or floating point in [0, 1] or [0, 255]), or a list of such frames, PIL images, or paths, addresses or "
    "bytes of pictures"
)
_NO_TIMES = (
    f"Frames in memory came without times; {ASSUMED_FPS:g} frames per second were assumed. "
    "Give fps= or timestamps_seconds=."
)
ONLY_0_AND_1 = (
    "Floating-point frames hold 0 and 1 alone: whole numbers are pixel values, so 1 is taken for nearly black; give "
    "uint8 frames where 1 is white."
)


class MemoryFrames:
    """Frames of one size in memory; converted one at a time, so that nothing is copied as a whole.

    Floating-point frames hold [0, 255] where a value of the whole video is above 1, or all are whole numbers; else
    [0, 1].

    Args:
        source: array or tensor [F, h, w, 3], [F, 3, h, w], [F, h, w] or with one channel; or a sequence of single
            frames, PIL images or paths, addresses (file://, data:) or bytes of pictures.
        channels_first: where the channels stand; None looks for an axis of 3 or 1, the last one first.
        caps: the most frames, their pixels, and who may name pictures.

    Raises:
        FrameError: another kind or shape, no frame, frames of differing shapes, values that are not finite or
            outside 0 to 255; the message names the frame.
        CapError: beyond the caps.
    """

    def __init__(self, source: Any, *, channels_first: bool | None = None, caps: Caps = NO_CAPS) -> None:
        count, name = _count(source), f"A {type(source).__name__} of frames"
        caps.check_frames(count, name)
        self._source, self._channels_first = _found(source, caps, name), channels_first
        self.notes: tuple[str, ...] = ()
        if count == 0:
            raise FrameError(
                f"There are 0 frames in the {type(source).__name__}; {WHAT_WORKS}, with at least 1 frame."
            )
        self.count = count
        if caps.cap_pixels is not None:
            # a picture's own size first, for to tell how it lies some are decoded
            for place in filter(lambda place: is_picture(self._source[place]), range(count)):
                caps.check_pixels(*stored_size(self._source[place], place), name)
        self.size_px = self._size(0)
        caps.check_pixels(self.size_px[1], self.size_px[0], name)
        high = 0.0
        for place in range(count):
            if (size := self._size(place)) != self.size_px:
                raise FrameError(
                    f"Frame {place} is {_spelled(size)}, frame 0 is {_spelled(self.size_px)} (height x "
                    "width); give frames of one size."
                )
            if not is_picture(self._source[place]):
                high = max(high, _highest(self._frame(place), place))
        fraction = self._fraction() if 0 < high < DARK else None
        if fraction is not None and high > 1:
            raise FrameError(
                f"Frame {fraction} has fractions, and the values of the video go up to {high:g}; floating-point "
                "frames must lie in [0, 1], or reach further into [0, 255] (undo a normalisation, or clip)."
            )
        self._unit = 1 if fraction is None else WHITE
        if high == 1 and fraction is None:
            self.notes = (ONLY_0_AND_1,)
        pictures = {place: self._source[place] for place in range(count) if is_picture(self._source[place])}
        white = white_of(pictures)
        self._picture_white = white or DEEP_WHITE
        if white == WHITE:
            self.notes = (*self.notes, EIGHT_BITS_IN_MODE_I)

    def __getitem__(self, place: int) -> UInt8Array:
        """uint8 [h, w, 3] or grey [h, w], frame of that index; it may share memory with the source."""
        frame = self._frame(place)
        if frame.shape[:2] != self.size_px:
            raise FrameError(
                f"Frame {place} is {_spelled(frame.shape[:2])} once it is decoded, and said to be "
                f"{_spelled(self.size_px)} (height x width); save the picture again, turned as it is shown."
            )
        if np.issubdtype(frame.dtype, np.floating):
            frame = np.rint(frame * frame.dtype.type(self._unit))
        return frame if frame.dtype == np.uint8 else frame.astype(np.uint8)

    def _fraction(self) -> int | None:
        """The first frame that holds other numbers than whole ones; pixels are whole, however dark a video is."""
        for place in range(self.count):
            if not is_picture(self._source[place]):
                frame = self._frame(place)
                if np.any(frame != np.rint(frame)):
                    return place
        return None

    def _size(self, place: int) -> tuple[int, int]:
        """Height and width; pictures in files are only opened, not decoded."""
        item = self._source[place]
        if is_picture(item):
            return picture_size(item, place)
        height, width = self._frame(place).shape[:2]
        return height, width

    def _frame(self, place: int) -> np.ndarray[Any, Any]:
        """One frame as [h, w, 3] or, grey, [h, w]; its own numbers."""
        item = self._source[place]
        array = decoded(item, place, self._picture_white) if is_picture(item) else _to_numpy(item, place)
        if array.ndim == 3:
            array = self._channels_last(array)
        if (
            array.ndim not in (2, 3)
            or 0 in array.shape
            or (array.ndim == 3 and array.shape[-1] not in CHANNELS)
        ):
            raise FrameError(f"Frame {place} has shape {array.shape}, not [h, w, 3] or [h, w]; {WHAT_WORKS}.")
        if array.dtype == bool or not np.issubdtype(array.dtype, np.number) or np.iscomplexobj(array):
            raise FrameError(f"Frame {place} has dtype {array.dtype}; {WHAT_WORKS}.")
        return array[..., 0] if array.ndim == 3 and array.shape[-1] == 1 else array

    def _channels_last(self, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        first = self._channels_first
        if first is None:
            first = array.shape[-1] not in CHANNELS and array.shape[0] in CHANNELS
        return np.moveaxis(array, 0, -1) if first else array


def describe(
    frames: MemoryFrames, timestamps_seconds: Sequence[float] | None, fps: float | None
) -> VideoInfo:
    """Say what is known of frames in memory.

    Args:
        frames: the frames.
        timestamps_seconds: time of each, not decreasing; None to count them.
        fps: rate to count them at; None for 24, with a warning.

    Raises:
        FrameError: both given, a wrong number of times, times not finite or going back, fps not above 0.
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
        warnings=(*frames.notes, *((_NO_TIMES,) if assumed else ())),
    )


def read_memory(frames: MemoryFrames, info: VideoInfo, wanted: Int64Array, view: View) -> Iterator[Frame]:
    """Hand the wanted frames out, int64 [F] not decreasing, one at a time; their pixels are copies."""
    for place in wanted.tolist():
        original = frames[place]
        pixels = brought(original, view)
        pixels = np.array(pixels, order="C") if np.may_share_memory(pixels, original) else pixels
        yield Frame(index=place, timestamp_seconds=float(info.frame_times_seconds[place]), pixels=pixels)


def _spelled(size_px: tuple[int, int]) -> str:
    return f"{size_px[0]} x {size_px[1]} px"


def _count(source: Any) -> int:
    shape = getattr(source, "shape", None)
    if shape is not None:
        # [h, w, 3] is one picture, [F, h, w] a grey video
        if len(shape) == 4 or (len(shape) == 3 and shape[-1] not in CHANNELS):
            return int(shape[0])
        raise FrameError(f"Frames have shape {tuple(shape)}; {WHAT_WORKS}.")
    if isinstance(source, list | tuple):
        return len(source)
    raise FrameError(
        f"Cannot read frames from a {type(source).__name__}; {WHAT_WORKS}, or the path of a video."
    )


def _found(source: Any, caps: Caps, name: str) -> Any:
    """A list with its pictures' addresses brought to paths or bytes, once; together they are one video's bytes."""
    if not isinstance(source, list | tuple):
        return source
    found, taken = [], 0
    for place, item in enumerate(source):
        found.append(_fetched(item, place, caps))
        taken += len(found[-1]) if isinstance(found[-1], bytes) else 0
        caps.check_bytes(taken, name)
    return found


def _fetched(item: Any, place: int, caps: Caps) -> Any:
    try:
        return fetched(item, caps)
    except VideoError as problem:
        raise FrameError(f"Frame {place}: {problem}") from problem


def _to_numpy(item: Any, place: int) -> np.ndarray[Any, Any]:
    if isinstance(item, np.ndarray):
        return item
    if hasattr(item, "detach") and hasattr(item, "cpu"):
        tensor = item.detach().cpu()
        # numpy has no bfloat16
        return np.asarray(tensor.float() if tensor.is_floating_point() else tensor)
    raise FrameError(f"Frame {place} is a {type(item).__name__}; {WHAT_WORKS}.")


def _highest(frame: np.ndarray[Any, Any], place: int) -> float:
    """Check the values of a frame; the highest in floating point, 0 for whole numbers, whose unit is known."""
    if frame.dtype == np.uint8:
        return 0.0
    low, high = float(frame.min()), float(frame.max())
    is_floating = np.issubdtype(frame.dtype, np.floating)
    if not np.isfinite(low + high):
        bad = tuple(np.argwhere(~np.isfinite(frame))[0])
        raise FrameError(
            f"Frame {place} holds {frame[bad]} at row {bad[0]}, column {bad[1]}; every value must be finite."
        )
    if low < 0 or high > WHITE:
        works = (
            "they must lie in 0 to 255, or in [0, 1] in floating point (undo a normalisation)"
            if is_floating
            else "whole numbers must lie in 0 to 255: divide frames of more bits by their white, and give [0, 1]"
        )
        raise FrameError(f"Frame {place} has values from {low:g} to {high:g}; {works}.")
    return high if is_floating else 0.0


def _checked_times(timestamps_seconds: Sequence[float], count: int) -> Float64Array:
    try:
        # "0123" and "1" would pass for times
        given = [None if isinstance(time, str) else time for time in timestamps_seconds]
        times = np.array([float(time) for time in given], dtype=np.float64)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise FrameError(
            f"timestamps_seconds is {reprlib.repr(timestamps_seconds)}; give a number of seconds per frame."
        ) from None
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
