"""The packets of a file, with stamps that can be true, and what has to be said of those that were not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import attrgetter
from pathlib import Path
from typing import Any

import av
import numpy as np

from framegate.tokenizers.clip.clock import (
    FREE_CLOCKS,
    MOST_REORDERED,
    MendedClock,
    Pause,
    as_written,
    displaced,
    mended_clock,
)
from framegate.tokenizers.clip.container import (
    HIDING_CODECS,
    Packets,
    Stamps,
    counted,
    ends_with_boundary,
    is_shown,
    named,
    open_container,
    packets_tell_times,
    use_threads,
    video_stream_of,
)

Times = list[int | None]

_ASKED = attrgetter("size", "pts", "dts", "duration", "is_keyframe", "is_corrupt", "is_discard")
# packets before a seam that the end of a file may fall on
_AT_A_SEAM = 3


@dataclass(frozen=True)
class FilePackets:
    """Per shown packet, in order of the file: stamps in ticks (None: missing), length, keyframe or not.

    `problem` is the error that ended reading early, if any. `stamps` are those of all packets where any was moved,
    `clock_notes` say which and why. `num_corrupt` counts where packets break off or do not follow one another.
    """

    pts: list[int | None]
    dts: list[int | None]
    durations: list[int]
    keys: list[bool]
    num_discarded: int
    num_corrupt: int
    problem: str | None
    stamps: Stamps | None
    clock_notes: tuple[str, ...]


def read_packets(container: Any, stream: Any, data: str | bytes) -> FilePackets:
    """Read all packets of an open file; nothing is decoded unless stamps are wild."""
    pts: Times = []
    dts: Times = []
    shown: list[int] = []
    durations: list[int] = []
    keyed: list[bool] = []
    corrupt: list[int] = []
    discarded = 0
    source, codec = Packets(container, stream), stream.codec_context.name
    # an hour has a hundred thousand: each is asked once, and none is kept
    for packet in source:
        size, shown_tick, decoded_tick, duration, is_key, is_corrupt, is_discard = _ASKED(packet)
        if size == 0:
            continue
        number = len(pts)
        pts.append(shown_tick)
        dts.append(decoded_tick)
        keyed.append(is_key)
        if is_corrupt:
            corrupt.append(number)
        if is_discard:
            discarded += 1
        elif codec not in HIDING_CODECS or is_shown(packet, codec):
            shown.append(number)
            durations.append(duration or 0)
    mended, seams, notes = _mended(pts, dts, keyed, container, stream, data)
    if mended is not None:
        pts, dts = (list(column) for column in zip(*mended, strict=True))
    problem = None if source.problem and ends_with_boundary(container, stream) else source.problem
    # where another file begins its counter does too, which falls on one of the packets that are being put together
    at_seams = {seam + place for seam in seams for place in range(-_AT_A_SEAM, 1)}
    num_corrupt = len(set(corrupt) - at_seams)
    shown_pts, shown_dts = ([series[place] for place in shown] for series in (pts, dts))
    keys = [keyed[place] for place in shown]
    return FilePackets(shown_pts, shown_dts, durations, keys, discarded, num_corrupt, problem, mended, notes)


def _mended(
    pts: Times, dts: Times, keyed: list[bool], container: Any, stream: Any, data: str | bytes
) -> tuple[Stamps | None, list[int], tuple[str, ...]]:
    """Bring stamps into an order that can be true.

    The order of showing is that of the stamps, part by part where the clock starts anew with a keyframe, as another
    file does, as long as they fit one another. Else it is the decoder's: the whole file is decoded once, unless frames
    are shown as they are decoded.

    Args:
        pts: stamps of showing, of all packets that are not empty.
        dts: their stamps of decoding.
        keyed: which of them are keyframes.
        container: the open one.
        stream: its video stream.
        data: path or bytes of the file.

    Returns:
        Stamps that can be true, None where the file's own are, the packets with which the clock starts anew, and the
        notes.
    """
    is_free, unit = container.format.name in FREE_CLOCKS, float(stream.time_base)

    def clock_of(series: Sequence[int | None]) -> MendedClock:
        return mended_clock(series, unit, clock_is_free=is_free)

    order: Sequence[int] = range(len(pts))
    clock = of_decoding = clock_of(dts)
    seams = [after for _, after in of_decoding.restarts]
    if None not in pts and packets_tell_times(stream):
        ticks = np.array(pts, np.int64)
        parts = np.searchsorted(np.array(seams, np.int64), np.arange(len(pts)), side="right")
        in_time = np.lexsort((ticks, parts))
        order = in_time.tolist()
        clock = clock_of(ticks[in_time].tolist())
        is_clean = not len(of_decoding.wild) and not len(clock.wild) and all(keyed[seam] for seam in seams)
        moved = ticks.copy()
        moved[in_time] += clock.shifts
        if not is_clean or displaced(moved.tolist()):
            order = range(len(pts))
            if pts != dts:
                by_stamp = list(zip(parts.tolist(), pts, strict=True))
                order = _with_lost(_decoded_order(data, stream.index, len(pts)), by_stamp)
            clock = clock_of([pts[number] for number in order])

    def told_seconds(place: int) -> float:
        """A packet's stamp as it stands in the file, by its place in the order."""
        both = pts[order[place]], dts[order[place]]
        tick = next((tick for tick in both if tick is not None), None)
        return 0.0 if tick is None else as_written(tick * unit, clock_is_free=is_free)

    notes = _notes(clock, told_seconds, unit, Path(named(data)).name)
    if not clock.changes:
        return None, seams, notes
    stamps = list(zip(pts, dts, strict=True))
    for number, shift in zip(order, clock.shifts.tolist(), strict=True):
        stamps[number] = _shifted(stamps[number], shift)
    return stamps, seams, notes


def _decoded_order(data: str | bytes, video_stream: int, count: int) -> list[int]:
    """Numbers of the packets in the order in which the decoder gives their frames."""
    order: dict[int, None] = {}
    with open_container(data) as container:
        stream = video_stream_of(container, named(data), video_stream)
        use_threads(stream)
        for packet in Packets(container, stream, [(number, number) for number in range(count)]):
            try:
                order.update((frame.pts, None) for frame in packet.decode() if frame.pts is not None)
            except (av.FFmpegError, ValueError):
                continue
    return list(order)


def _with_lost(decoded: list[int], by_stamp: Sequence[Any]) -> list[int]:
    """Put packets that gave no frame into the decoder's order, by their stamps.

    One that would go further than frames are reordered is wild: it goes behind the packet before it in the file.

    Args:
        decoded: numbers of the packets that gave a frame, in the order of showing.
        by_stamp: of all packets, what sorts them for showing where no stamp is wild.
    """
    ranks = {number: rank for rank, number in enumerate(decoded)}
    slots = [(rank, 1, by_stamp[number], number) for number, rank in ranks.items()]
    behind = 0
    for number, own in enumerate(by_stamp):
        if number in ranks:
            behind = ranks[number] + 1
            continue
        first = max(0, behind - MOST_REORDERED)
        near = decoded[first : behind + MOST_REORDERED]
        # the last slot with fewest neighbours on the wrong side: some of them may be wild, or of the part before a seam
        wrong = [*accumulate((1 if by_stamp[other] > own else -1 for other in near), initial=0)]
        slot = first + max(range(len(wrong)), key=lambda place: (-wrong[place], place))
        is_wild = (slot == first > 0) or (slot == first + len(near) < len(decoded))
        slots.append((behind if is_wild else slot, 0, own, number))
    return [number for *_, number in sorted(slots)]


def _shifted(own: tuple[int | None, int | None], shift: int) -> tuple[int | None, int | None]:
    shown, decoded = own
    return (None if shown is None else shown + shift), (None if decoded is None else decoded + shift)


def _notes(clock: MendedClock, seconds: Callable[[int], float], unit: float, name: str) -> tuple[str, ...]:
    notes = [
        f"The time stamps of {name} go from {seconds(before):g} to {seconds(after):g} seconds; what follows was put "
        "behind what came before."
        for before, after in clock.restarts
    ]
    if len(clock.wild):
        first = int(clock.wild[0])
        one = f"frame of {name} has a time stamp that does not fit its neighbours', number"
        many = f"frames of {name} have a time stamp that does not fit their neighbours', the first is number"
        put = "it was put between them" if len(clock.wild) == 1 else "they were put between their neighbours"
        notes.append(f"{counted(len(clock.wild), one, many)} {first} at {seconds(first):g} seconds; {put}.")
    return (*notes, *(_pause_note(pause, unit, name) for pause in clock.pauses))


def _pause_note(pause: Pause, unit: float, name: str) -> str:
    several = pause.frames > 1
    ends = f"{pause.end} {pause.frames} frames" if several else f"{pause.end} frame"
    side = "before the next" if pause.end == "first" else "behind the one before it"
    side = side.replace("it", "them") if several else side
    return (
        f"The {ends} of {name} {'come' if several else 'comes'} {pause.ticks * unit:g} seconds {side}, where no other "
        f"step is above {pause.longest_step * unit:g} seconds: a pause, or a wild time stamp; it was left as it is."
    )
