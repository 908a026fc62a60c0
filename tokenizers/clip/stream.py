"""The one iterator over frames, whether they come from a file, from memory or from a live source."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self
from weakref import WeakSet

import numpy as np

from framegate.errors import FrameError, VideoError
from framegate.tokenizers.clip.address import located
from framegate.tokenizers.clip.container import named
from framegate.tokenizers.clip.file_index import FileIndex, index_file
from framegate.tokenizers.clip.file_source import read_frames
from framegate.tokenizers.clip.live_reader import LiveReader
from framegate.tokenizers.clip.live_source import LiveSource
from framegate.tokenizers.clip.memory_source import MemoryFrames, describe, read_memory
from framegate.tokenizers.clip.pixels import PixelFormat, Resample, Size, View
from framegate.tokenizers.clip.window import WHOLE, Window, check_window, window_frames, windowed
from framegate.types import Frame, FramePlan, Int64Array, VideoInfo

Note = Callable[[str], None]

LIVE_TIMEOUT_SECONDS = 30.0
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


class _Source(Protocol):
    """What a stream needs of where its frames come from."""

    info: VideoInfo
    codec_keyframes: Int64Array

    def read(self, wanted: Int64Array, view: View) -> Iterator[Frame]: ...


class VideoStream:
    """Frames of a video, as often as wanted; a context manager that closes what it opened.

    Args:
        source: file or frames in memory, or a live source.
        window_seconds: clip window [start, end).
        live_fps: most frames per second of a live source.
        warnings: list that the source adds its warnings to.

    Attributes: `info` what is known of the video, `warnings` what had to be assumed or was found damaged so
    far (complete when a pass has ended), `codec_keyframes` int64 [K] indices of the frames coded on their own
    (empty when there are none to know).
    """

    def __init__(
        self,
        source: _Source | LiveSource,
        *,
        window_seconds: Window,
        live_fps: float | None,
        warnings: list[str],
    ) -> None:
        self.info = source.info
        self.warnings = warnings
        self.codec_keyframes: Int64Array = getattr(source, "codec_keyframes", np.zeros(0, np.int64))
        self._source = source
        self._window = window_seconds
        self._live_fps = live_fps
        self._passes: WeakSet[Generator[Frame, None, None]] = WeakSet()
        self._closed = False

    def frames(
        self,
        plan: FramePlan | None = None,
        *,
        size_px: Size | None = None,
        pixel_format: PixelFormat = "rgb24",
        resample: Resample = "area",
    ) -> Iterator[Frame]:
        """Give frames, one at a time, decoded, resized and turned as they are asked for.

        Args:
            plan: which frames, inside the clip window; None for every frame of it.
            size_px: height and width as shown, None for the video's own.
            pixel_format: "rgb24", or "gray" for luma 0.299 R + 0.587 G + 0.114 B, full range.
            resample: "area", or "bicubic" and "bilinear" as transformers resizes; see `pixels.View`.

        Returns:
            Iterator over Frame in order of presentation; a frame planned twice comes twice; each owns its
            pixels. Every call on a file or on frames in memory starts afresh. Frames that a damaged file
            cannot give are left out, with a warning in `warnings`.

        Raises:
            FrameError: a plan or a second pass on a live source, planned frames outside the video or the
                window, a bad size.
            ConfigError: an unknown pixel format.
            VideoError: the stream is closed, or nothing can be decoded.
        """
        if self._closed:
            raise VideoError(
                f"The stream of {self.info.source or 'frames in memory'} is closed; open it again."
            )
        view = View(size_px=size_px, pixel_format=pixel_format, resample=resample)
        if isinstance(self._source, LiveSource):
            return self._kept(self._live(self._source, plan, view))
        return self._kept(self._source.read(self._wanted(plan), view))

    @property
    def in_memory(self) -> bool:
        """True when the frames were given, so that all of them are meant."""
        return isinstance(self._source, _MemorySource)

    def close(self) -> None:
        """Close everything now, also passes that were not read to their end."""
        self._closed = True
        for one_pass in list(self._passes):
            # a pass that another thread is reading cannot be closed from here; it ends at its next frame
            with suppress(ValueError):
                one_pass.close()
        if isinstance(self._source, LiveSource):
            self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _live(self, source: LiveSource, plan: FramePlan | None, view: View) -> Iterator[Frame]:
        if plan is not None:
            raise FrameError(
                f"{self.info.source} is live, so frames cannot be planned; thin it out with live_fps."
            )
        return source.read(view, window_seconds=self._window, live_fps=self._live_fps)

    def _wanted(self, plan: FramePlan | None) -> Int64Array:
        inside = window_frames(self.info, self._window)
        if plan is None:
            return inside
        first, last = int(plan.indices[0]), int(plan.indices[-1])
        if first < inside[0] or last > inside[-1]:
            raise FrameError(
                f"The plan names frames {first} to {last}, but the stream holds frames {inside[0]} to "
                f"{inside[-1]}; plan with the same video and window."
            )
        return plan.indices

    def _kept(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        one_pass = self._until_closed(frames)
        self._passes.add(one_pass)
        return one_pass

    def _until_closed(self, frames: Iterator[Frame]) -> Generator[Frame, None, None]:
        try:
            for frame in frames:
                if self._closed:
                    return
                yield frame
        finally:
            close = getattr(frames, "close", None)
            if close is not None:
                close()


class _FileSource:
    def __init__(self, index: FileIndex, note: Note, window_seconds: Window) -> None:
        index = replace(index, info=windowed(index.info, window_seconds))
        self.info = index.info
        self.codec_keyframes = index.keyframes
        self._index = index
        self._note = note

    def read(self, wanted: Int64Array, view: View) -> Iterator[Frame]:
        return read_frames(self._index, wanted, view, self._note)


class _MemorySource:
    def __init__(self, frames: MemoryFrames, info: VideoInfo, window_seconds: Window) -> None:
        info = windowed(info, window_seconds)
        self.info = info
        self.codec_keyframes = np.zeros(0, np.int64)
        self._frames = frames

    def read(self, wanted: Int64Array, view: View) -> Iterator[Frame]:
        return read_memory(self._frames, self.info, wanted, view)


def probe(source: str | PathLike[str]) -> VideoInfo:
    """Look at a video file: its packets are read, and one frame is decoded to learn the rotation.

    Args:
        source: path or file:// address of the file.

    Returns:
        Its VideoInfo. Frame times are the container's, right on variable-rate files, with the container's
        first instant (the earliest of its streams) at 0 seconds: the first frame usually is at 0.0, later
        when the sound starts before the pictures. Frames without time stamps are counted, with a warning.

    Raises:
        VideoNotFoundError: no such file.
        VideoError: a directory, no video, an unknown codec, no frame, or none that can be decoded.
    """
    source = located(source)
    if not isinstance(source, str | PathLike):
        raise FrameError(
            f"{type(source).__name__} is no path; only files can be probed and planned beforehand."
        )
    if _URL.match(str(source)):
        raise FrameError(
            f"{source} is a live source without known frames; read it with framegate.open_video and "
            "framegate.gate_stream."
        )
    return index_file(Path(source)).info


def open_video(
    source: Any,
    *,
    window_seconds: Window = WHOLE,
    timestamps_seconds: Sequence[float] | None = None,
    fps: float | None = None,
    live_fps: float | None = None,
    format: str | None = None,
    options: Mapping[str, str] | None = None,
    channels_first: bool | None = None,
    video_stream: int | None = None,
    timeout_seconds: float | None = None,
) -> VideoStream:
    """Open a video: a file, frames in memory, or a live source.

    Args:
        source: path, file:// or data: address, a file's bytes or an open file; or frames in memory, array or tensor
            [F, h, w, 3], [F, 3, h, w] or grey
            [F, h, w], whole numbers in 0 to 255 or floating point in [0, 1] or [0, 255], or a list of such frames, PIL
            images or paths of pictures; or a live source, an address such as rtsp:// or http://, or a device's name
            together with `format`.
        window_seconds: clip window [start, end) in seconds, None for an open end.
        timestamps_seconds: times of frames in memory.
        fps: rate of frames in memory, instead of their times; 24, with a warning, when neither is given.
        live_fps: most frames per second of a live source, None for every frame.
        format: FFmpeg's name of a device's or live stream's format, say "v4l2"; makes the source live.
        channels_first: where the channels of frames in memory stand; None looks for an axis of 3 or 1.
        options: FFmpeg's options of a live source.
        video_stream: number of the video stream among all streams of a file or live source; None for the one that a
            player would show: no cover, no preview, the default one, the largest.
        timeout_seconds: how long a live source may be silent, above 0; None for 30.

    Returns:
        The stream; use it in a `with` statement.

    Raises:
        VideoNotFoundError: no such file.
        VideoError: the source cannot be opened, or holds no video that can be decoded.
        FrameError: frames or times in memory that cannot be used, a window that holds no frame, or a setting
            that does not belong to this kind of source.
    """
    check_window(window_seconds)
    # a device has a name of its own
    source = source if format else located(source)
    is_path = isinstance(source, str | PathLike)
    is_file = is_path or isinstance(source, bytes)
    is_live = is_path and (format is not None or _URL.match(str(source)) is not None)
    _refuse(
        source,
        {
            "live sources": {
                "live_fps": live_fps,
                "format": format,
                "options": options,
                "timeout_seconds": timeout_seconds,
            }
            if not is_live
            else {},
            "frames in memory": {"timestamps_seconds": timestamps_seconds, "fps": fps} if is_file else {},
            "files and live sources": {} if is_file else {"video_stream": video_stream},
        },
    )
    if timeout_seconds is not None and not (isinstance(timeout_seconds, int | float) and timeout_seconds > 0):
        raise FrameError(
            f"timeout_seconds is {timeout_seconds!r}; it must be above 0, or None for 30 seconds."
        )
    warnings: list[str] = []
    opened: _Source | LiveSource
    if is_live:
        note = _once(warnings)
        reader = LiveReader(
            str(source),
            format=format,
            options=options,
            video_stream=video_stream,
            timeout_seconds=LIVE_TIMEOUT_SECONDS if timeout_seconds is None else timeout_seconds,
            note=note,
        )
        opened = LiveSource(reader, note)
    elif is_file:
        data = source if isinstance(source, bytes) else Path(source)
        opened = _FileSource(index_file(data, video_stream=video_stream), _once(warnings), window_seconds)
    else:
        frames = MemoryFrames(source, channels_first=channels_first)
        opened = _MemorySource(frames, describe(frames, timestamps_seconds, fps), window_seconds)
    warnings.extend(opened.info.warnings)
    return VideoStream(opened, window_seconds=window_seconds, live_fps=live_fps, warnings=warnings)


def _refuse(source: Any, settings_of: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse settings that this kind of source cannot follow, rather than ignore them."""
    is_file = isinstance(source, str | PathLike | bytes)
    name = named(source) if is_file else f"a {type(source).__name__} in memory"
    for owner, settings in settings_of.items():
        for key, value in settings.items():
            if value is not None:
                raise FrameError(f"{key}={value!r} is for {owner}, but the source is {name}; leave it out.")


def _once(warnings: list[str]) -> Note:
    def note(text: str) -> None:
        if text not in warnings:
            warnings.append(text)

    return note
