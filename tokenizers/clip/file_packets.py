"""The packets of a file, with stamps that can be true, and what has to be said of those that were not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from framegate.tokenizers.clip.clock import FREE_CLOCKS, MendedClock, Pause, displaced, mended_clock
from framegate.tokenizers.clip.container import (
    Packets,
    Stamps,
    is_shown,
    named,
    open_container,
    packets_tell_times,
    use_threads,
    video_stream_of,
)


@dataclass(frozen=True)
class FilePackets:
    """Per shown packet, in order of the file: stamps in ticks (None: missing), length, keyframe or not.

    `problem` is the error that ended reading early, if any. `stamps` are those of all packets where any was moved,
    `clock_notes` say which and why.
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
    stamps: Stamps = []
    shown: list[int] = []
    durations: list[int] = []
    keys: list[bool] = []
    discarded = corrupt = 0
    source = Packets(container, stream)
    for packet in source:
        if packet.size == 0:
            continue
        stamps.append((packet.pts, packet.dts))
        discarded += packet.is_discard
        if not is_shown(packet, stream.codec_context.name):
            continue
        shown.append(len(stamps) - 1)
        durations.append(packet.duration or 0)
        keys.append(packet.is_keyframe)
        corrupt += packet.is_corrupt
    mended, notes = _mended(stamps, container, stream, data, Path(named(data)).name)
    used = mended or stamps
    pts, dts = [used[place][0] for place in shown], [used[place][1] for place in shown]
    return FilePackets(pts, dts, durations, keys, discarded, corrupt, source.problem, mended, notes)


def _mended(
    stamps: Stamps, container: Any, stream: Any, data: str | bytes, name: str
) -> tuple[Stamps | None, tuple[str, ...]]:
    """Bring stamps into an order that can be true.

    The order of showing is that of the stamps as long as they fit one another. Where some are wild it is the decoder's:
    the whole file is decoded once, unless frames are shown as they are decoded.

    Args:
        stamps: of all packets that are not empty.
        container: the open one.
        stream: its video stream.
        data: path or bytes of the file.
        name: of the file, for messages.

    Returns:
        Stamps that can be true, None where the file's own are, and the notes.
    """

    def clock_of(series: Sequence[int | None]) -> MendedClock:
        is_free = container.format.name in FREE_CLOCKS
        return mended_clock(series, float(stream.time_base), clock_is_free=is_free)

    clock = clock_of([decoded for _, decoded in stamps])
    mended: Stamps = [_shifted(own, shift) for own, shift in zip(stamps, clock.shifts.tolist(), strict=True)]
    order, shown = list(range(len(stamps))), [stamp for stamp, _ in mended]
    if None not in shown and packets_tell_times(stream):
        in_order = clock_of(sorted(stamp for stamp in shown if stamp is not None))
        if len(clock.wild) or len(in_order.wild) or displaced(shown):
            if any(shown != decoded for shown, decoded in stamps):
                order = _decoded_order(data, stream.index, len(stamps))
            clock = clock_of([stamps[number][0] for number in order])
            for number, shift in zip(order, clock.shifts.tolist(), strict=True):
                mended[number] = _shifted(stamps[number], shift)
        else:
            clock = MendedClock(clock.shifts, clock.wild, clock.restarts, in_order.pauses)
    notes = _notes(clock, [stamps[number] for number in order], float(stream.time_base), name)
    return (mended if clock.changes else None), notes


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


def _shifted(own: tuple[int | None, int | None], shift: int) -> tuple[int | None, int | None]:
    shown, decoded = own
    return (None if shown is None else shown + shift), (None if decoded is None else decoded + shift)


def _notes(clock: MendedClock, stamps: Stamps, unit: float, name: str) -> tuple[str, ...]:
    notes = [
        f"The time stamps of {name} go from {before * unit:g} to {after * unit:g} seconds; what follows was put behind "
        "what came before."
        for before, after in clock.restarts
    ]
    if len(clock.wild):
        first = int(clock.wild[0])
        stamp = next((tick for tick in stamps[first] if tick is not None), 0)
        notes.append(
            f"{len(clock.wild)} frames of {name} have a time stamp that does not fit their neighbours', the first is "
            f"number {first} at {stamp * unit:g} seconds; they were put between their neighbours."
        )
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
