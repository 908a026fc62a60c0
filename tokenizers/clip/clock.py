"""Time stamps as a series: single wild ones are put between their neighbours, a clock that starts anew goes on.

Rules (ours):

- where stamps go back, up to WILD frames that stand apart from what is before and behind them are wild;
- up to WILD frames at either end are wild where a gap of more than ten minutes, and ten times the rest, parts them off
  from SERIES frames or more;
- a stamp of showing before the frame's own stamp of decoding, or behind those of the sixteen frames that follow it,
  is wild;
- everything else that goes back is a clock that was started anew, or another file behind the first: what follows is
  put behind what came before. So is what follows a leap forward where the container's clock is free to leap (MPEG-TS
  and its kin, of which FFmpeg thinks the same): more than ten seconds and a hundred frames. In other containers a gap
  is taken to be time that passed, up to an hour.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from framegate.types import Int64Array

# how many neighbouring frames may be wild
WILD = 3
# and how many the rest has to be to say what is wild
SERIES = 10
APART_SECONDS, APART_TIMES = 600.0, 10.0
# no codec holds back more frames than these; muxers round, and some begin with a negative delay
REORDERED, EARLY_SECONDS = 17, 1.0
LEAP_SECONDS, LEAP_FRAMES = 10.0, 100
LONGEST_GAP_SECONDS = 3600.0
# containers whose stamps may leap by their standard
FREE_CLOCKS = ("mpegts", "mpeg", "mpegtsraw", "vob", "dvd")


@dataclass(frozen=True)
class MendedClock:
    """What a series of packets gains by mending.

    Args:
        shifts: ticks to add to each packet's stamps, int64 [N], in order of the file.
        wild: packets whose stamps stood apart, int64 [W].
        restarts: (stamp before, stamp after) in ticks of every place where the clock started anew.
    """

    shifts: Int64Array
    wild: Int64Array
    restarts: tuple[tuple[int, int], ...]

    @property
    def changes(self) -> bool:
        """True when any stamp is not the file's own."""
        return bool(self.shifts.any())


def mended_clock(dts: list[int | None], seconds_per_tick: float, *, clock_is_free: bool) -> MendedClock:
    """Look for stamps that cannot be true, and say how far to move each packet.

    Args:
        dts: stamps of decoding in ticks, in order of the file; None for a packet without, which moves as the one
            before it.
        seconds_per_tick: the stream's time base.
        clock_is_free: the container's clock may leap without time passing.

    Returns:
        The shifts, after which stamps do not decrease.
    """
    known = np.array([place for place, stamp in enumerate(dts) if stamp is not None], np.int64)
    shifts = np.zeros(len(dts), np.int64)
    if len(known) < 2:
        return MendedClock(shifts, np.zeros(0, np.int64), ())
    stamps = np.array([dts[place] for place in known], np.int64)
    steps = np.diff(stamps)
    step = max(1, int(np.median(steps[steps > 0]))) if np.any(steps > 0) else 1
    leap = _longest_gap(step, seconds_per_tick, clock_is_free)
    if np.all((steps >= 0) & (steps <= leap)) and not _ends_apart(stamps, seconds_per_tick).any():
        return MendedClock(shifts, np.zeros(0, np.int64), ())
    wild = _wild(stamps, _ends_apart(stamps, seconds_per_tick))
    moved, restarts = _continuous(stamps, wild, step, leap)
    shifts[known] = moved - stamps
    # a packet without a stamp goes with the one before it
    latest = np.searchsorted(known, np.arange(len(dts)), side="right") - 1
    shifts = np.where(latest >= 0, shifts[known[np.maximum(latest, 0)]], 0)
    return MendedClock(shifts, known[np.flatnonzero(wild)], tuple(restarts))


def wild_showing(stamps: list[tuple[int | None, int | None]], seconds_per_tick: float) -> list[int]:
    """List the packets that are shown when no decoder could show them, by their number in the file.

    A frame waits in the decoder for at most REORDERED others: it is shown before the last of them is decoded.
    """
    known = [
        place for place, (shown, decoded) in enumerate(stamps) if shown is not None and decoded is not None
    ]
    pts = np.array([stamps[place][0] for place in known], np.int64)
    dts = np.array([stamps[place][1] for place in known], np.int64)
    if len(known) <= REORDERED:
        return []
    # of the last ones nothing behind them says how long they may wait
    latest = np.full(len(known), np.iinfo(np.int64).max // 2)
    windows = np.lib.stride_tricks.sliding_window_view(dts, REORDERED)
    latest[: len(windows) - 1] = windows[1:].max(axis=1)
    slack = max(0, usual_delay(stamps)) + EARLY_SECONDS / seconds_per_tick
    wild = (pts > latest + slack) | (pts < dts - slack)
    return [known[place] for place in np.flatnonzero(wild)]


def usual_delay(stamps: list[tuple[int | None, int | None]]) -> int:
    """Ticks from decoding to showing of a packet in the middle."""
    delays = [shown - decoded for shown, decoded in stamps if shown is not None and decoded is not None]
    return int(np.median(delays)) if delays else 0


def _longest_gap(step: int, seconds_per_tick: float, clock_is_free: bool) -> float:
    if clock_is_free:
        return max(LEAP_SECONDS / seconds_per_tick, LEAP_FRAMES * step)
    return max(LONGEST_GAP_SECONDS / seconds_per_tick, LEAP_FRAMES * step)


def _ends_apart(stamps: Int64Array, seconds_per_tick: float) -> np.ndarray:
    """Which of the first and last few stamps lie far from all others: bool [N]."""
    apart = np.zeros(len(stamps), bool)
    for count in range(1, min(WILD, len(stamps) - SERIES) + 1):
        for ends in (slice(None, count), slice(len(stamps) - count, None)):
            rest = np.delete(stamps, np.arange(len(stamps))[ends])
            length = int(rest.max() - rest.min())
            far = max(APART_SECONDS / seconds_per_tick, APART_TIMES * length)
            gaps = np.maximum(rest.min() - stamps[ends], stamps[ends] - rest.max())
            if np.all(gaps > far):
                apart[ends] = True
    return apart


def _wild(stamps: Int64Array, apart: np.ndarray) -> np.ndarray:
    """Which stamps stand apart from what is before and behind them: bool [N]."""
    wild = apart.copy()
    for place in np.flatnonzero(np.diff(stamps) < 0) + 1:
        before, here = stamps[place - 1], stamps[place]
        if wild[place - 1] or wild[place]:
            continue
        high, low = _run_above(stamps, int(place), here), _run_below(stamps, int(place), before)
        if min(high, low) > WILD:
            continue
        if high <= low:
            wild[place - high : place] = True
        else:
            wild[place : place + low] = True
    return wild


def _run_above(stamps: Int64Array, place: int, here: np.int64) -> float:
    """How many stamps just before a place are above it, where what is before them is not."""
    for count in range(1, WILD + 1):
        if place - count - 1 < 0 or stamps[place - count - 1] <= here:
            return count if place - count >= 0 else math.inf
    return math.inf


def _run_below(stamps: Int64Array, place: int, before: np.int64) -> float:
    """How many stamps from a place on are below what was before, where what is behind them is not."""
    for count in range(1, WILD + 1):
        if place + count >= len(stamps) or stamps[place + count] >= before:
            return count
    return math.inf


def _continuous(
    stamps: Int64Array, wild: np.ndarray, step: int, leap: float
) -> tuple[Int64Array, list[tuple[int, int]]]:
    """Stamps that do not decrease, [N], and where the clock started anew."""
    good = np.flatnonzero(~wild)
    restarts: list[tuple[int, int]] = []
    moved = stamps.copy()
    offset, usual = 0, step
    for last, place in zip(good, good[1:], strict=False):
        stamp = int(stamps[place]) + offset
        gap = stamp - int(moved[last])
        frames = int(place - last)
        if gap < 0 or gap > leap * frames:
            restarts.append((int(moved[last]), stamp))
            offset += int(moved[last]) + usual * frames - stamp
            stamp = int(stamps[place]) + offset
        elif frames == 1 and gap > 0:
            usual = min(gap, LEAP_FRAMES * step)
        moved[place] = stamp
    for place in np.flatnonzero(wild):
        moved[place] = _between(moved, good, int(place), step)
    return moved, restarts


def _between(moved: Int64Array, good: Int64Array, place: int, step: int) -> int:
    """A stamp for a wild frame: evenly between its good neighbours, or as many steps from the only one."""
    rank = int(np.searchsorted(good, place))
    if rank == 0:
        return int(moved[good[0]]) - step * int(good[0] - place)
    before = int(good[rank - 1])
    if rank == len(good):
        return int(moved[before]) + step * (place - before)
    behind = int(good[rank])
    share = (place - before) / (behind - before)
    return round(int(moved[before]) + share * int(moved[behind] - moved[before]))
