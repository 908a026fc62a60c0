"""The clock of a source that is read once: the rules of `clock`, with as little looking ahead as they allow."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from framegate.tokenizers.clip.clock import (
    APART_SECONDS,
    APART_TIMES,
    LEAP_SECONDS,
    LONGEST_GAP_SECONDS,
    LOOK_AHEAD,
    PAUSE_SECONDS,
    PAUSE_TIMES,
    SERIES,
    WILD,
    as_written,
    wild_before,
)
from framegate.tokenizers.clip.live_thread import Arrival

# a frame with the seconds of the source's own clock
Stamped = tuple[float, Arrival]


class LiveClock:
    """Gives frames of a live source times that do not decrease.

    Frames are held back, up to LOOK_AHEAD of them, only where a stamp goes back, or runs ahead of the clock on arrival
    by more than a pause of the source would.

    Args:
        name: of the source, for notes.
        clock_is_free: the source's clock may leap without time passing.
        note: called with each note.
    """

    def __init__(self, name: str, *, clock_is_free: bool, note: Callable[[str], None]) -> None:
        self._name, self._is_free, self._note = name, clock_is_free, note
        # how far the source's clock may run ahead of ours before it is taken for another one
        self._longest_gap = LEAP_SECONDS if clock_is_free else LONGEST_GAP_SECONDS
        self._offset = self._last = self._step = 0.0
        self._earlier: float | None = None
        self._has_told = False

    def timed(self, coming: Iterator[Stamped]) -> Iterator[tuple[int, float, Arrival]]:
        """Give frames with index and seconds since the first."""
        ahead: deque[Stamped] = deque()
        index, now, before, connection = 0, 0.0, 0.0, 0
        while _hold(ahead, coming, 1):
            stamp, arrival = ahead[0]
            if index == 0:
                self._offset, before = -stamp, arrival.seconds
            late = arrival.seconds - before
            if arrival.connection != connection:
                # our clock tells how long it was away; that of the source may have started anew
                connection, self._offset = arrival.connection, self._last + late - stamp
            wild = 0
            if self._is_doubtful(stamp, late):
                _hold(ahead, coming, LOOK_AHEAD)
                wild = self._num_wild(index, [one for one, _ in ahead], late)
            began = now
            right = ahead[wild][0] + self._offset if wild < len(ahead) else began + (wild + 1) * self._step
            for place in range(1, min(wild + 1, len(ahead)) + 1):
                _, arrival = ahead.popleft()
                # a clock that ran ahead is waited for
                now = began + max(0.0, right - began) * place / (wild + 1)
                yield index, now, arrival
                index, before = index + 1, arrival.seconds
            if wild == 0 and right > self._last:
                self._step = min(right - self._last, LEAP_SECONDS)
            self._earlier, self._last = (self._last if index > 1 else None), right

    def _is_doubtful(self, stamp: float, late: float) -> bool:
        pause = max(PAUSE_SECONDS, PAUSE_TIMES * self._step)
        return not 0 <= stamp + self._offset - self._last <= late + pause

    def _num_wild(self, index: int, stamps: list[float], late: float) -> int:
        """How many of the frames that are held are wild; a clock that starts anew is moved."""
        moved, longest = [stamp + self._offset for stamp in stamps], self._longest_gap + late
        goes_back = moved[0] < self._last
        if goes_back and self._earlier is not None and wild_before(self._earlier, moved, longest) == 0:
            # the last one was wild, and is given already
            self._tell(index - 1, self._last)
            self._last = self._earlier
            return 0
        wild = wild_before(self._last, moved, longest)
        if wild == 0 and len(stamps) <= WILD and index >= SERIES:
            gap = moved[0] - self._last
            if self._is_free or gap > max(APART_SECONDS, APART_TIMES * self._last):
                wild = len(stamps)
            else:
                self._note(
                    f"The end of {self._name} comes {gap:g} seconds behind the frame before it: a pause, or a wild "
                    "time stamp; it was left as it is."
                )
        if wild is not None:
            if wild:
                self._tell(index, moved[0])
            return wild
        before, after = (self._as_written(stamp) for stamp in (self._last, moved[0]))
        self._note(
            f"The time stamps of {self._name} go from {before:g} to {after:g} seconds; what follows was put behind "
            "what came before."
        )
        self._step = self._step or _first_step(stamps)
        self._offset += self._last + self._step - moved[0]
        return 0

    def _as_written(self, moved: float) -> float:
        return as_written(moved - self._offset, clock_is_free=self._is_free)

    def _tell(self, index: int, seconds: float) -> None:
        """Note the first wild stamp; there may be many in a stream without an end."""
        if not self._has_told:
            self._note(
                f"Frames of {self._name} have time stamps that do not fit their neighbours', the first is number "
                f"{index} at {self._as_written(seconds):g} seconds; they were put between their neighbours."
            )
        self._has_told = True


def _hold(ahead: deque[Stamped], coming: Iterator[Stamped], count: int) -> bool:
    """Take frames until some are held, or there are no more; True where one is held."""
    while len(ahead) < count and (one := next(coming, None)) is not None:
        ahead.append(one)
    return len(ahead) > 0


def _first_step(stamps: list[float]) -> float:
    """Seconds from the first of some frames to the next, 0 where they cannot tell."""
    step = stamps[1] - stamps[0] if len(stamps) > 1 else 0.0
    return step if 0 < step < LEAP_SECONDS else 0.0
