"""The few frames between the thread that reads a live source and whoever takes them."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

LOOK_EVERY_SECONDS = 0.1


class FrameQueue:
    """Frames that wait to be taken, in order.

    Args:
        size: most frames that wait.
        drops_oldest: one that comes to a full queue takes the place of the oldest, so that who takes them late sees
            what is now; else the source has to wait.

    `ended` is set by whoever wants no more; `dropped` counts frames that nobody took.
    """

    def __init__(self, size: int, *, drops_oldest: bool) -> None:
        self._size, self.drops_oldest = size, drops_oldest
        self._waiting: deque[Any] = deque()
        self._changed = threading.Condition()
        self.ended = threading.Event()
        self.dropped = 0

    def put(self, frame: Any) -> bool:
        """Hand a frame over; False when nobody takes it any more."""
        with self._changed:
            if self.drops_oldest and len(self._waiting) == self._size:
                self._waiting.popleft()
                self.dropped += 1
            return self._add(frame)

    def put_last(self, what: BaseException | None) -> None:
        """Hand over how it ended; what waits before it is never dropped for it."""
        with self._changed:
            self._add(what)

    def take(self, timeout_seconds: float) -> Any:
        """Take the oldest; TimeoutError where none came in time."""
        until = time.monotonic() + timeout_seconds
        with self._changed:
            while not self._waiting:
                left = until - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                self._changed.wait(left)
            found = self._waiting.popleft()
            self._changed.notify_all()
            return found

    def _add(self, what: Any) -> bool:
        while len(self._waiting) >= self._size:
            if self.ended.is_set():
                return False
            self._changed.wait(LOOK_EVERY_SECONDS)
        if self.ended.is_set():
            return False
        self._waiting.append(what)
        self._changed.notify_all()
        return True
