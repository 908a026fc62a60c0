"""Reading a live source on a thread of its own, so that waiting for it can be ended: by time, by hand, by Ctrl-C."""

from __future__ import annotations

import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import av

from framegate.errors import VideoError
from framegate.tokenizers.clip.as_shown import PixelAspects, as_shown, odd_pixels_note
from framegate.tokenizers.clip.container import (
    ends_with_boundary,
    is_raw_stream,
    open_container,
    other_videos_note,
    packets_tell_times,
    video_stream_of,
)

Note = Callable[[str], None]


class Arrival(NamedTuple):
    """A decoded frame, when its data came by seconds of our clock, and the width of its pixels by their height."""

    seconds: float
    frame: Any
    pixel_aspect: float


# a source may send a little faster than its frames are taken
_WAITING_FRAMES = 2
_LOOK_EVERY_SECONDS = 0.1
# packets that come within this time of each other were there before they were asked for
_READY_SECONDS, _MOST_READY = 0.02, 64
# FFmpeg counts the time-out on its own; where a device does not let it, we end the wait this much later
_GRACE_SECONDS = 2.0


@dataclass(frozen=True)
class Opened:
    """What is known of a live source once its first frame is there.

    Args:
        first: that frame.
        shown: fields of VideoInfo, see `as_shown`.
        codec: short name.
        format: FFmpeg's name of the container.
        has_stamps: frames come with times of their own.
        notes: what had to be assumed.
    """

    first: Arrival
    shown: dict[str, Any]
    codec: str
    format: str
    has_stamps: bool
    notes: tuple[str, ...]


class LiveReader:
    """An iterator over the frames of a live source as they come; waits for the first one at once.

    Args:
        address: URL, or the name of a device.
        format: FFmpeg's name of the format, None to find out.
        options: FFmpeg's options, for example {"rtsp_transport": "tcp"}.
        video_stream: number of the stream; None to choose.
        timeout_seconds: how long the source may be silent, when it is opened and between frames.
        note: called with each warning.

    `opened` says what it is. Reading ends with `close`, or when nobody holds the reader any more; a thread that is
    stuck in a device's driver is left behind and ends with the process.

    Raises:
        VideoError: it cannot be opened, has no video, sends nothing in time or ends without a frame.
    """

    def __init__(
        self,
        address: str,
        *,
        format: str | None,
        options: Mapping[str, str] | None,
        video_stream: int | None,
        timeout_seconds: float,
        note: Note,
    ) -> None:
        self.address, self._timeout_seconds, self._note = address, timeout_seconds, note
        # the thread holds its work alone: it must not keep the reader alive
        self._work = _Work(address, timeout_seconds, video_stream, note)
        weakref.finalize(self, self._work.ended.set)
        open_it = {"format": format, "options": options}
        threading.Thread(target=self._work.run, args=(open_it,), daemon=True).start()
        try:
            first = self._next()
        except BaseException:
            self.close()
            raise
        if first is None or self._work.opened is None:
            self.close()
            raise VideoError(
                f"{address!r} ended before its first frame, or sent none within {timeout_seconds:g} seconds; check "
                "that the source is sending, or raise timeout_seconds."
            )
        self.opened: Opened = self._work.opened

    def __iter__(self) -> Iterator[Arrival]:
        while (arrival := self._next()) is not None:
            yield arrival

    def close(self) -> None:
        """End reading; a thread that waits for the next frame gets none."""
        self._work.ended.set()
        self._work.has_left.wait(_LOOK_EVERY_SECONDS)

    def _next(self) -> Arrival | None:
        """Wait for a frame; None at the end, or when nothing came in time."""
        waits_until = time.monotonic() + self._timeout_seconds + _GRACE_SECONDS
        while not self._work.ended.is_set():
            try:
                found = self._work.frames.get(timeout=_LOOK_EVERY_SECONDS)
            except queue.Empty:
                if time.monotonic() > waits_until:
                    self._note(
                        f"{self.address} sent nothing for {self._timeout_seconds:g} seconds; reading ended."
                    )
                    self._work.ended.set()
                continue
            if isinstance(found, BaseException):
                raise found
            return found
        return None


class _Work:
    """What the thread does, and what it shares with the reader: `frames`, `ended`, `has_left`, `opened`."""

    def __init__(self, address: str, timeout_seconds: float, video_stream: int | None, note: Note) -> None:
        self._address, self._timeout_seconds = address, timeout_seconds
        self._video_stream, self._note = video_stream, note
        self.frames: queue.Queue[Arrival | BaseException | None] = queue.Queue(_WAITING_FRAMES)
        self.ended, self.has_left = threading.Event(), threading.Event()
        self.opened: Opened | None = None

    def run(self, open_it: Mapping[str, Any]) -> None:
        """Open the source and hand its frames over until it or the reader ends."""
        began = time.monotonic()
        try:
            container = open_container(self._address, timeout_seconds=self._timeout_seconds, **open_it)
            try:
                self._decode(container, began)
            finally:
                container.close()
            self._give(None)
        except Exception as problem:
            self._give(problem)
        finally:
            self.has_left.set()

    def _decode(self, container: Any, began: float) -> None:
        stream = video_stream_of(container, self._address, self._video_stream)
        # frame threads would hold frames back
        stream.thread_type = "SLICE"
        aspects = PixelAspects(stream)
        waiting: deque[int] | None = None if packets_tell_times(stream) else deque()
        try:
            arriving = self._arriving(container.demux(stream), began)
            for arrived, packet in _spread(arriving) if is_raw_stream(container) else arriving:
                for frame in self._frames_of(packet, waiting):
                    arrival = Arrival(arrived, frame, aspects.of(frame))
                    if self.opened is None:
                        self.opened = self._describe(container, stream, arrival)
                    if not self._give(arrival):
                        return
        except (av.error.ExitError, av.error.TimeoutError):
            self._tell_of_silence()
        except av.FFmpegError as problem:
            if not ends_with_boundary(container, stream):
                self._note(f"{self._address} ended: {problem.strerror}.")

    def _arriving(self, packets: Iterator[Any], began: float) -> Iterator[tuple[float, Any]]:
        """Packets with the seconds from a moment of our clock to their arrival."""
        asked = time.monotonic()
        for packet in packets:
            came = time.monotonic()
            # a playlist whose next segment does not come ends like a file, with an empty packet
            if packet.size == 0 and came - asked >= self._timeout_seconds:
                self._tell_of_silence()
            yield came - began, packet
            asked = time.monotonic()

    def _tell_of_silence(self) -> None:
        self._note(f"{self._address} sent nothing for {self._timeout_seconds:g} seconds; reading ended.")

    def _frames_of(self, packet: Any, waiting: deque[int] | None) -> list[Any]:
        """The frames a packet completes; with the stamps that wait, where they are those of the order of showing."""
        try:
            frames = list(packet.decode())
        except (av.error.InvalidDataError, ValueError):
            self._note(f"{self._address} sent damaged data; the frames it broke were left out.")
            return []
        if waiting is not None:
            if packet.size > 0 and packet.dts is not None:
                waiting.append(packet.dts)
            for frame in frames:
                frame.pts = waiting.popleft() if waiting else None
        return frames

    def _describe(self, container: Any, stream: Any, first: Arrival) -> Opened:
        return Opened(
            first=first,
            shown=as_shown(first.frame, first.pixel_aspect),
            codec=stream.codec_context.name,
            format=container.format.name,
            has_stamps=not is_raw_stream(container),
            notes=(
                *other_videos_note(container, stream, self._address),
                *odd_pixels_note(first.pixel_aspect, self._address),
            ),
        )

    def _give(self, what: Arrival | BaseException | None) -> bool:
        """Hand something over; False when nobody takes it any more."""
        while not self.ended.is_set():
            try:
                self.frames.put(what, timeout=_LOOK_EVERY_SECONDS)
            except queue.Full:
                continue
            return True
        return False


def _spread(packets: Iterator[tuple[float, Any]]) -> Iterator[tuple[float, Any]]:
    """Spread those that came while the source was looked at, and lie ready, over the time that took."""
    ready: list[tuple[float, Any]] = []
    later: list[tuple[float, Any]] = []
    problem: av.FFmpegError | None = None
    try:
        for arrived, packet in packets:
            if len(ready) == _MOST_READY or (ready and arrived - ready[-1][0] >= _READY_SECONDS):
                later = [(arrived, packet)]
                break
            ready.append((arrived, packet))
    except av.FFmpegError as end:
        problem = end
    yield from _evenly(ready)
    if problem is not None:
        raise problem
    yield from later
    yield from packets


def _evenly(ready: list[tuple[float, Any]]) -> Iterator[tuple[float, Any]]:
    opened = ready[0][0] if ready else 0.0
    for place, (_, packet) in enumerate(ready):
        yield opened * (place + 1) / len(ready), packet
