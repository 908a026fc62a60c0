"""Frames of a camera, an address or another source that is read once and has no known end."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from framegate.errors import FrameError
from framegate.tokenizers.clip.clock import FREE_CLOCKS, LEAP_SECONDS
from framegate.tokenizers.clip.live_clock import LiveClock, Stamped
from framegate.tokenizers.clip.live_reader import LiveReader
from framegate.tokenizers.clip.live_thread import Arrival
from framegate.tokenizers.clip.pixels import PixelConverter, View
from framegate.tokenizers.clip.window import Window, check_window
from framegate.types import Frame, VideoInfo

Note = Callable[[str], None]

# Time stamps of live sources jitter; a frame this close before its turn is taken.
EPSILON_SECONDS = 1e-6


class Pace:
    """Thins out frames that come one by one.

    Args:
        fps: most frames per second, on a fixed lattice of times; None for every frame.

    Raises:
        FrameError: a rate that is not above 0 and finite.
    """

    def __init__(self, fps: float | None) -> None:
        if fps is not None and not (fps > 0 and math.isfinite(fps)):
            raise FrameError(f"live_fps is {fps}; it must be above 0 and finite, or None for every frame.")
        self._fps, self._next_due = fps, -math.inf

    def takes(self, now: float) -> bool:
        """Tell whether a frame's turn has come, at times that do not decrease."""
        if now < self._next_due - EPSILON_SECONDS:
            return False
        if self._fps is not None:
            self._next_due = (math.floor(now * self._fps + EPSILON_SECONDS) + 1) / self._fps
        return True


class LiveSource:
    """A source that gives its frames once, in order.

    Args:
        reader: what reads it; its first frame is there.
        note: called with each warning.
    """

    def __init__(self, reader: LiveReader, note: Note) -> None:
        self._reader, self._address, self._note = reader, reader.address, note
        self._used = False
        opened = self._reader.opened
        self._first: Arrival | None = opened.first
        self._has_stamps, self._clock_is_free = opened.has_stamps, opened.format in FREE_CLOCKS
        self.info = VideoInfo(
            source=self._address,
            frame_times_seconds=np.zeros(0),
            duration_seconds=0.0,
            codec=opened.codec,
            is_live=True,
            **opened.shown,
        )
        for text in opened.notes:
            note(text)

    def read(self, view: View, *, window_seconds: Window, live_fps: float | None) -> Iterator[Frame]:
        """Give the frames as they come; only once.

        Args:
            view: size and format wanted.
            window_seconds: clip window; reading ends at its end.
            live_fps: most frames per second of the source's clock, None for every frame.

        Returns:
            Iterator over Frame; the first frame of the source is at 0 seconds, and the one on screen at the window's
            start is given at that time.

        Raises:
            FrameError: the source was read already, a bad window or rate.
        """
        if self._used:
            raise FrameError(
                f"{self._address!r} is live and was read already; open it again for a second pass."
            )
        pace = Pace(live_fps)
        start, end = check_window(window_seconds)
        self._used = True
        return self._read(view, start, end, pace)

    @property
    def dropped_frames(self) -> int:
        """Frames that nobody took in time."""
        return self._reader.dropped_frames

    @property
    def reconnections(self) -> int:
        """How often the source was opened again."""
        return self._reader.reconnections

    def close(self) -> None:
        """Close the source, also while another thread waits for its next frame."""
        self._first = None
        self._reader.close()

    def _read(self, view: View, start: float, end: float, pace: Pace) -> Iterator[Frame]:
        try:
            yield from self._converted(view, start, end, pace)
        finally:
            self.close()

    def _converted(self, view: View, start: float, end: float, pace: Pace) -> Iterator[Frame]:
        convert = PixelConverter(view, self.info, self._note)
        clock = LiveClock(self._address, clock_is_free=self._clock_is_free, note=self._note)
        for index, now, arrival in _from(start, clock.timed(self._stamped())):
            if now >= end:
                return
            if not pace.takes(now):
                continue
            pixels = convert(arrival.frame, arrival.pixel_aspect, now)
            damaged = bool(arrival.frame.is_corrupt)
            yield Frame(index=index, timestamp_seconds=now, pixels=pixels, is_damaged=damaged)

    def _stamped(self) -> Iterator[Stamped]:
        """Frames with the seconds of the source's own clock, of ours where it has none."""
        for arrival in self._arrivals():
            stamp = arrival.frame.time if self._has_stamps else None
            if stamp is None:
                self._note(
                    f"{self._address} sends frames without time stamps; the clock on arrival was taken."
                )
                stamp = arrival.seconds
            yield stamp, arrival

    def _arrivals(self) -> Iterator[Arrival]:
        if self._first is not None:
            first, self._first = self._first, None
            yield first
            del first
        yield from self._reader


def _from(start: float, coming: Iterator[tuple[int, float, Arrival]]) -> Iterator[tuple[int, float, Arrival]]:
    """From a moment on, with the frame that is on screen then, at that time."""
    held: tuple[int, float, Arrival] | None = None
    since = 0.0
    for index, now, arrival in coming:
        if now < start - EPSILON_SECONDS:
            held, since = (index, start, arrival), now
            continue
        if now <= start + EPSILON_SECONDS:
            held = None
        if held is not None:
            yield held
            held = None
        yield index, now, arrival
    # a source that ended long before has nothing on screen
    if held is not None and start - since <= LEAP_SECONDS:
        yield held
