"""Time stamps as a series: single wild ones are put between their neighbours, a clock that starts anew goes on.

Rules (ours), for files and for live sources:

- of the next stamps the longest series that goes on from the last one is right; up to WILD frames before it are wild;
- where none goes on, the clock was started anew, or another file stands behind the first: what follows is put behind
  what came before. So is what follows a leap forward where the container's clock is free to leap (MPEG-TS and its kin,
  of which FFmpeg thinks the same): more than ten seconds and a hundred frames. In other containers a gap is taken to be
  time that passed, up to an hour;
- up to WILD frames at either end, parted from SERIES frames or more by a gap of half a second and five times any other
  step, are wild where the clock is free, or the gap is above ten minutes and ten times the rest; elsewhere they are
  kept, and told.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from framegate.types import BoolArray, Int64Array

# how many neighbouring frames may be wild
WILD = 3
# frames to look at: the wild ones, and more than as many behind them
LOOK_AHEAD = 2 * WILD + 1
# and how many the rest has to be to say what is wild
SERIES = 10
APART_SECONDS, APART_TIMES = 600.0, 10.0
PAUSE_SECONDS, PAUSE_TIMES = 0.5, 5.0
# no codec holds back more frames than these, few more than those
MOST_REORDERED, USUALLY_REORDERED = 16, 4
LEAP_SECONDS, LEAP_FRAMES = 10.0, 100
LONGEST_GAP_SECONDS = 3600.0
# containers whose stamps may leap by their standard
FREE_CLOCKS = ("mpegts", "mpeg", "mpegtsraw", "vob", "dvd")
# their stamps have 33 bits of 90,000 a second; FFmpeg counts on behind, or below 0, where they begin over
_WRAP_SECONDS = (1 << 33) / 90_000


@dataclass(frozen=True)
class Pause:
    """Frames at an end that stand apart from the rest, and were left there.

    Args:
        end: which one.
        frames: how many.
        ticks: the gap.
        longest_step: the longest of the others, in ticks.
    """

    end: Literal["first", "last"]
    frames: int
    ticks: int
    longest_step: int


@dataclass(frozen=True)
class MendedClock:
    """What a series of frames gains by mending.

    Args:
        shifts: ticks to add to each frame's stamps, int64 [N].
        wild: frames whose stamps stood apart, int64 [W].
        restarts: (frame before, frame after) of every place where the clock started anew.
        pauses: ends that were left where they are.
    """

    shifts: Int64Array
    wild: Int64Array
    restarts: tuple[tuple[int, int], ...] = ()
    pauses: tuple[Pause, ...] = ()

    @property
    def changes(self) -> bool:
        """True when any stamp is not the file's own."""
        return bool(self.shifts.any())


def mended_clock(
    stamps: Sequence[int | None], seconds_per_tick: float, *, clock_is_free: bool
) -> MendedClock:
    """Look for stamps that cannot be true, and say how far to move each frame.

    Args:
        stamps: in ticks, in an order in which they should not decrease: those of decoding in order of the file, or
            those of showing in order of showing; None for a frame without, which moves as the one before it.
        seconds_per_tick: the stream's time base.
        clock_is_free: the container's clock may leap without time passing.

    Returns:
        The shifts, after which stamps do not decrease.
    """
    is_whole = None not in stamps
    known = np.arange(len(stamps))
    if not is_whole:
        known = np.array([place for place, stamp in enumerate(stamps) if stamp is not None], np.int64)
    shifts = np.zeros(len(stamps), np.int64)
    if len(known) < 2:
        return MendedClock(shifts, np.zeros(0, np.int64))
    own = np.array([stamp for stamp in stamps if stamp is not None], np.int64)
    steps = np.diff(own)
    step = max(1, int(np.median(steps[steps > 0]))) if np.any(steps > 0) else 1
    leap = _longest_gap(step, seconds_per_tick, clock_is_free)
    moved, wild = own, np.zeros(len(own), bool)
    restarts: list[tuple[int, int]] = []
    if not np.all((steps >= 0) & (steps <= leap)):
        moved, wild, seams = _continuous(own, step, leap)
        restarts = [(int(known[seam - 1]), int(known[seam])) for seam in seams]
    apart, pauses = _ends(moved, seconds_per_tick, clock_is_free)
    if np.any(apart):
        moved, wild = _between(moved, ~apart, step), wild | apart
    shifts[known] = moved - own
    # a frame without a stamp goes with the one before it
    latest = np.searchsorted(known, np.arange(len(stamps)), side="right") - 1
    shifts = np.where(latest >= 0, shifts[known[np.maximum(latest, 0)]], 0)
    return MendedClock(shifts, known[np.flatnonzero(wild)], tuple(restarts), pauses)


def wild_before(last: float, ahead: Sequence[float], longest: float) -> int | None:
    """Count the wild stamps before the one that goes on from the last; None where the clock starts anew.

    Args:
        last: the stamp that was found right last; -inf before the first.
        ahead: the next LOOK_AHEAD stamps, fewer at the end.
        longest: the longest gap that is time that passed.
    """
    begins = [
        place for place, stamp in enumerate(ahead[: WILD + 1]) if stamp >= last and stamp - last <= longest
    ]
    # of each stamp: how many are right of the series that begins there
    lengths = [0] * len(ahead)
    for place in reversed(range(len(ahead))):
        behind = [lengths[k] for k in range(place + 1, len(ahead)) if ahead[k] >= ahead[place]]
        lengths[place] = 1 + max(behind, default=0)
    if begins:
        # of two as long the later one begins lower
        return max(begins, key=lambda place: (lengths[place], place))
    return len(ahead) if len(ahead) <= WILD else None


def as_written(seconds: float, *, clock_is_free: bool) -> float:
    """A stamp as it stands in the file, of one that FFmpeg gives."""
    return seconds % _WRAP_SECONDS if clock_is_free else seconds


def displaced(shown: list[int | None]) -> bool:
    """Tell whether a frame is shown much further from its place in the file than the others.

    Args:
        shown: stamps of showing, in order of the file.
    """
    known = np.array([stamp for stamp in shown if stamp is not None], np.int64)
    if len(known) <= SERIES:
        return False
    places = np.argsort(np.argsort(known, kind="stable"), kind="stable")
    far = np.sort(np.abs(places - np.arange(len(known))))
    return bool(far[-1] > min(MOST_REORDERED, max(USUALLY_REORDERED, 2 * far[-SERIES])))


def _longest_gap(step: int, seconds_per_tick: float, clock_is_free: bool) -> float:
    seconds = LEAP_SECONDS if clock_is_free else LONGEST_GAP_SECONDS
    return max(seconds / seconds_per_tick, LEAP_FRAMES * step)


def _continuous(own: Int64Array, step: int, leap: float) -> tuple[Int64Array, BoolArray, list[int]]:
    """Stamps that do not decrease, [N], which of them were wild, bool [N], and where the clock started anew."""
    restarts: list[int] = []
    moved, good = own.copy(), np.ones(len(own), bool)
    steps = np.diff(own)
    breaks = np.append(np.flatnonzero((steps < 0) | (steps > leap)) + 1, len(own) + 1)
    offset, before, place = 0, -math.inf, 0
    while place < len(own):
        ahead = [int(stamp) + offset for stamp in own[place : place + LOOK_AHEAD]]
        wild = wild_before(before, ahead, leap if before > -math.inf else math.inf)
        if wild is None and place <= WILD:
            # the first few, like the last few, are no clock
            good[:place], before = False, -math.inf
            continue
        if wild is None:
            restarts.append(place)
            offset += int(before) + step - ahead[0]
            continue
        good[place : place + wild] = False
        # from the right one to where a break comes in sight nothing is in doubt
        right = place + wild
        sight = int(breaks[np.searchsorted(breaks, right, side="right")])
        place = max(right + 1, sight - LOOK_AHEAD)
        moved[right:place] = own[right:place] + offset
        before = int(moved[min(place, len(own)) - 1])
    return _between(moved, good, step), ~good, restarts


def _ends(
    moved: Int64Array, seconds_per_tick: float, clock_is_free: bool
) -> tuple[BoolArray, tuple[Pause, ...]]:
    """Which of the first and last few stamps are wild, bool [N], and which stand apart and are kept."""
    apart = np.zeros(len(moved), bool)
    pauses: list[Pause] = []
    steps = np.diff(moved)
    if len(moved) < SERIES + 2 * WILD:
        return apart, ()
    rest = steps[WILD:-WILD]
    longest = int(rest.max())
    far = max(PAUSE_SECONDS / seconds_per_tick, PAUSE_TIMES * longest)
    too_far = max(APART_SECONDS / seconds_per_tick, APART_TIMES * int(rest.sum()))
    ends: tuple[tuple[Literal["first", "last"], BoolArray], ...] = (("first", apart), ("last", apart[::-1]))
    for end, outwards in ends:
        gaps = (steps if end == "first" else steps[::-1])[:WILD]
        frames = 1 + int(np.flatnonzero(gaps > far).max(initial=-1))
        gap = int(gaps[frames - 1])
        if frames and (clock_is_free or gap > too_far):
            outwards[:frames] = True
        elif frames:
            pauses.append(Pause(end, frames, gap, longest))
    return apart, tuple(pauses)


def _between(moved: Int64Array, good: BoolArray, step: int) -> Int64Array:
    """Put the others evenly between their good neighbours, or as many steps from the only one."""
    places, known = np.arange(len(moved)), np.flatnonzero(good)
    if len(known) == 0:
        return step * places
    inside = np.interp(places, known, moved[known])
    before = np.minimum(places - known[0], 0) * step
    behind = np.maximum(places - known[-1], 0) * step
    return np.where(good, moved, np.rint(inside).astype(np.int64) + before + behind)
