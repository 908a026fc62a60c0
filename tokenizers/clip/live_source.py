"""Frames of a camera, an address or another source that is read once and has no known end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import av
import numpy as np

from framegate.errors import FrameError, VideoError
from framegate.tokenizers.clip.container import open_container, video_stream_of
from framegate.tokenizers.clip.file_index import clockwise
from framegate.tokenizers.clip.pixels import PixelConverter, View
from framegate.tokenizers.clip.window import Window, check_window
from framegate.types import Frame, VideoInfo

Note = Callable[[str], None]

# Time stamps of live sources jitter; a frame this close before its turn is taken.
EPSILON_SECONDS = 1e-6


class LiveSource:
    """A source that gives its frames once, in order.

    Args:
        address: URL, or the name of a device.
        format: FFmpeg's name of the device's or stream's format, None to find out.
        options: FFmpeg's options, for example {"rtsp_transport": "tcp", "timeout": "5000000"}.
        note: called with each warning.

    The first frame is decoded at once, to learn the size; it waits until the source sends it.

    Raises:
        VideoError: it cannot be opened, has no video, or ends without a frame.
    """

    def __init__(
        self, address: str, *, format: str | None, options: Mapping[str, str] | None, note: Note
    ) -> None:
        self._address = address
        self._note = note
        self._used = False
        self._container = open_container(address, format=format, options=options)
        try:
            stream = video_stream_of(self._container, address)
            # frame threads would hold frames back
            stream.thread_type = "SLICE"
            self._frames = self._decode(stream)
            self._first: Any = next(self._frames, None)
            if self._first is None:
                raise VideoError(
                    f"{address!r} ended before its first frame; check that the source is sending."
                )
            self.info = _describe(address, self._first, stream.codec_context.name)
        except BaseException:
            self._container.close()
            raise

    def read(self, view: View, *, window_seconds: Window, live_fps: float | None) -> Iterator[Frame]:
        """Hand the frames out as they come.

        Args:
            view: size and format.
            window_seconds: clip window, counted from the first frame.
            live_fps: at most this many frames per second, on the grid k / live_fps; None for all.

        Returns:
            Iterator over the frames, index counted from the first of the source, times not decreasing.

        Raises:
            FrameError: read before, a bad window, or live_fps not above 0.
        """
        if self._used:
            raise FrameError(
                f"{self._address!r} is live and was read already; open it again for a second pass."
            )
        if live_fps is not None and not (live_fps > 0 and math.isfinite(live_fps)):
            raise FrameError(
                f"live_fps is {live_fps}; it must be above 0 and finite, or None for every frame."
            )
        start, end = check_window(window_seconds)
        self._used = True
        return self._read(view, start, end, live_fps)

    def close(self) -> None:
        """Close the source."""
        self._first = None
        self._container.close()

    def _read(self, view: View, start: float, end: float, live_fps: float | None) -> Iterator[Frame]:
        convert = PixelConverter(view)
        next_due = -math.inf
        for index, now, frame in self._timed():
            if now >= end:
                return
            if now < start or now < next_due - EPSILON_SECONDS:
                continue
            if live_fps is not None:
                next_due = (math.floor(now * live_fps + EPSILON_SECONDS) + 1) / live_fps
            pixels = convert(frame, self.info.rotation_degrees)
            yield Frame(index=index, timestamp_seconds=now, pixels=pixels)

    def _timed(self) -> Iterator[tuple[int, float, Any]]:
        """Frames with index and seconds since the first; those whose time goes back are left out."""
        began = time.monotonic()
        origin: float | None = None
        last = -math.inf
        for index, frame in enumerate(self._from_first()):
            stamp = frame.time
            if stamp is None:
                self._note(
                    f"{self._address} sends frames without time stamps; the clock on arrival was taken."
                )
                stamp = time.monotonic() - began
            origin = stamp if origin is None else origin
            if stamp - origin < last:
                self._note(f"{self._address} sent time stamps that go back; those frames were left out.")
                continue
            last = stamp - origin
            yield index, last, frame

    def _from_first(self) -> Iterator[Any]:
        if self._first is not None:
            first, self._first = self._first, None
            yield first
            del first
        yield from self._frames

    def _decode(self, stream: Any) -> Iterator[Any]:
        try:
            for packet in self._container.demux(stream):
                try:
                    yield from packet.decode()
                except av.error.InvalidDataError:
                    self._note(f"{self._address} sent damaged data; the frames it broke were left out.")
        except av.FFmpegError as problem:
            self._note(f"{self._address} ended: {problem}.")


def _describe(address: str, frame: Any, codec: str) -> VideoInfo:
    rotation = clockwise(frame.rotation)
    height, width = (frame.width, frame.height) if rotation in (90, 270) else (frame.height, frame.width)
    return VideoInfo(
        source=address,
        width_px=width,
        height_px=height,
        frame_times_seconds=np.zeros(0),
        duration_seconds=0.0,
        codec=codec,
        rotation_degrees=rotation,
        is_live=True,
    )
