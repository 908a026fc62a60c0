"""Reading a live source on a thread of its own, so that waiting for it can be ended: by time, by hand, by Ctrl-C."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterator, Mapping

from framegate.errors import VideoError
from framegate.tokenizers.clip.frame_queue import LOOK_EVERY_SECONDS, FrameQueue
from framegate.tokenizers.clip.live_thread import Arrival, Note, Opened, ReadingThread

# a source may send a little faster than its frames are taken
_WAITING_FRAMES = 2
# FFmpeg counts the time-out on its own; where a device does not let it, we end the wait this much later
_GRACE_SECONDS = 2.0


class LiveReader:
    """An iterator over the frames of a live source as they come; waits for the first one at once.

    Args:
        address: URL, or the name of a device.
        format: FFmpeg's name of the format, None to find out.
        options: FFmpeg's options, for example {"rtsp_transport": "tcp"}.
        video_stream: number of the stream; None to choose.
        timeout_seconds: how long the source may be silent, when it is opened and between frames.
        drops_late: frames that nobody took in time give way to newer ones, and are counted; else the source waits,
            as one that says how long it is always does.
        reconnect_seconds: a source that ends or falls silent is opened again, until it gave no frame for so long; 0
            ends with it. One that says how long it is ends when it ends.
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
        drops_late: bool = False,
        reconnect_seconds: float = 0.0,
        note: Note,
    ) -> None:
        self.address, self._note = address, note
        self._patience_seconds = timeout_seconds + reconnect_seconds
        # the thread holds its work alone: it must not keep the reader alive
        self._work = ReadingThread(
            address,
            timeout_seconds=timeout_seconds,
            reconnect_seconds=reconnect_seconds,
            video_stream=video_stream,
            frames=FrameQueue(_WAITING_FRAMES, drops_oldest=drops_late),
            note=note,
        )
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
        self._work.has_left.wait(LOOK_EVERY_SECONDS)

    @property
    def dropped_frames(self) -> int:
        """Frames that nobody took in time."""
        return self._work.frames.dropped

    @property
    def reconnections(self) -> int:
        """How often the source was opened again."""
        return self._work.connection

    def _next(self) -> Arrival | None:
        """Wait for a frame; None at the end, or when nothing came in time."""
        waits_until = time.monotonic() + self._patience_seconds + _GRACE_SECONDS
        while not self._work.ended.is_set():
            try:
                found = self._work.frames.take(LOOK_EVERY_SECONDS)
            except TimeoutError:
                if time.monotonic() > waits_until:
                    self._note(
                        f"{self.address} sent nothing for {self._patience_seconds:g} seconds; reading ended."
                    )
                    self._work.ended.set()
                continue
            if isinstance(found, BaseException):
                raise found
            return found
        return None
