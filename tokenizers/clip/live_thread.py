"""The thread that reads a live source: it opens it, decodes it, opens it again when it ends, and hands frames over."""

from __future__ import annotations

import threading
import time
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
from framegate.tokenizers.clip.frame_queue import FrameQueue

Note = Callable[[str], None]


class Arrival(NamedTuple):
    """A decoded frame, when its data came by seconds of our clock, and the width of its pixels by their height.

    `connection` counts how often the source was opened again before: behind an interruption its clock may be another.
    """

    seconds: float
    frame: Any
    pixel_aspect: float
    connection: int = 0


# packets that come within this time of each other were there before they were asked for
_READY_SECONDS, _MOST_READY = 0.02, 64
# a source that is gone is asked again after this time, then after twice as long, and so on
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.25, 8.0


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


class ReadingThread:
    """What the thread does, and what it shares with the reader: `frames`, `ended`, `has_left`, `opened`,
    `connection`.

    Args:
        address: URL, or the name of a device.
        timeout_seconds: how long the source may be silent.
        reconnect_seconds: how long it is asked again when it has ended; 0 for not at all.
        video_stream: number of the stream; None to choose.
        frames: where frames go.
        note: called with each warning.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout_seconds: float,
        reconnect_seconds: float,
        video_stream: int | None,
        frames: FrameQueue,
        note: Note,
    ) -> None:
        self._address, self._timeout_seconds = address, timeout_seconds
        self._reconnect_seconds, self._video_stream, self._note = reconnect_seconds, video_stream, note
        self.frames = frames
        self.ended, self.has_left = frames.ended, threading.Event()
        self.opened: Opened | None = None
        self.connection, self._opening, self._last_frame = 0, 0, 0.0

    def run(self, open_it: Mapping[str, Any]) -> None:
        """Open the source and hand its frames over until it or the reader ends."""
        began = time.monotonic()
        try:
            is_over = self._read(open_it, began)
            while not is_over and self._is_worth_waiting():
                is_over = self._read_again(open_it, began)
            self.frames.put_last(None)
        except Exception as problem:
            self.frames.put_last(problem)
        finally:
            self.has_left.set()

    def _read(self, open_it: Mapping[str, Any], began: float) -> bool:
        """Read one connection to its end; True where the source is over: it has a length of its own."""
        container = open_container(self._address, timeout_seconds=self._timeout_seconds, **open_it)
        # a file behind an address waits for its reader: nothing of it is late
        self.frames.drops_oldest &= not container.duration
        try:
            self._decode(container, began)
            return bool(container.duration)
        finally:
            container.close()

    def _is_worth_waiting(self) -> bool:
        """True for a source that gave frames, and where somebody still wants some."""
        return self._reconnect_seconds > 0 and self.opened is not None and not self.ended.is_set()

    def _read_again(self, open_it: Mapping[str, Any], began: float) -> bool:
        """Ask the source until it gives a frame again; True where it is over, or was asked for too long."""
        self._opening, pause, seen = self.connection + 1, _FIRST_PAUSE_SECONDS, self._last_frame
        while not self.ended.wait(pause):
            try:
                if self._read(open_it, began):
                    return True
            except VideoError:
                pass  # not there yet
            if self._last_frame != seen:
                self._note(f"{self._address} was interrupted and opened again.")
                return False
            if time.monotonic() - seen > self._reconnect_seconds:
                self._note(f"{self._address} did not come back within {self._reconnect_seconds:g} seconds.")
                return True
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        return True

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
                    arrival = Arrival(arrived, frame, aspects.of(frame), self._opening)
                    if self.opened is None:
                        self.opened = self._describe(container, stream, arrival)
                    self.connection, self._last_frame = self._opening, time.monotonic()
                    if not self.frames.put(arrival):
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
