"""What a video file holds, by its packets: when each frame shows, and where decoding can start."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np

from framegate.errors import VideoError
from framegate.tokenizers.clip.clock import FREE_CLOCKS, mended_clock, usual_delay, wild_showing
from framegate.tokenizers.clip.container import (
    Packets,
    Stamps,
    check_file,
    is_shown,
    named,
    open_container,
    other_videos_note,
    video_stream_of,
)
from framegate.tokenizers.clip.pixels import as_shown
from framegate.types import Float64Array, Int64Array, VideoInfo

MICROSECOND = Fraction(1, 1_000_000)
FALLBACK_RATE = Fraction(25)
TS_PACKET_BYTES = 188
# Matroska's way to tell a stream's length
_DURATION_TAG = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)$", re.ASCII)
# sound of the same programme does not start this long before its pictures
OTHER_CLOCK_SECONDS = 10
# A file whose video ends this much before its header says is reported as cut off.
PROMISE_SLACK_SECONDS, PROMISE_SLACK_SHARE = 1.0, 0.1


@dataclass(frozen=True, kw_only=True)
class FileIndex:
    """A file's frames in order of presentation.

    Args:
        info: what is told to others.
        data: path of the file, or its bytes.
        ticks: time stamps in the stream's own unit, int64 [F], not decreasing.
        keyframes: indices of the frames that decode on their own, int64 [K].
        lookup: how a decoded frame finds its place: by its time stamp, or by counting frames from the start.
        can_seek: decoding may start at a keyframe.
        stamps: of all packets, where the container's clock had to be mended; None where it is right.
    """

    info: VideoInfo
    data: str | bytes = field(repr=False)
    ticks: Int64Array = field(repr=False)
    keyframes: Int64Array = field(repr=False)
    lookup: Literal["time", "count"]
    can_seek: bool
    stamps: Stamps | None = field(default=None, repr=False)


@dataclass(frozen=True)
class _Packets:
    """Per shown packet, in order of the file: stamps in ticks (None: missing), length, keyframe or not.

    `stamps` are those of all packets where any was moved, `clock_notes` say which and why.
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


def index_file(source: Path | bytes, *, video_stream: int | None = None) -> FileIndex:
    """Read all packets of a file, and decode its first frame to learn how it is shown.

    Args:
        source: the video file, or its bytes.
        video_stream: number of the stream among all of the container's; None for the one a player would show.

    Returns:
        The index. The first instant of the container (the earliest of its streams) is 0 seconds, so the first
        frame usually is at 0.0, later when the sound starts first.

    Raises:
        VideoNotFoundError: no such file.
        VideoError: no video, unknown codec, no frame, or none that can be decoded.
    """
    if isinstance(source, Path):
        check_file(source)
    data, name = source if isinstance(source, bytes) else str(source), named(source)
    with open_container(data) as container:
        stream = video_stream_of(container, name, video_stream)
        packets = _read_packets(container, stream, Path(name).name)
        if not packets.pts:
            raise VideoError(f"{name!r} has a video stream but no frame in it; record it again.")
        time_base = stream.time_base
        ticks, order, lookup, notes = _place(packets, stream)
        start = _start_tick(container, stream, packets, int(ticks[0])) if lookup == "time" else int(ticks[0])
        step = packets.durations[order[-1]] or _median_step(ticks, stream, time_base)
        end = float((int(ticks[-1]) + step - start) * time_base)
        size_bytes = len(source) if isinstance(source, bytes) else source.stat().st_size
        notes += _damage(Path(name).name, size_bytes, container, stream, packets, end)
        info = VideoInfo(
            source=name if isinstance(source, bytes) else source,
            frame_times_seconds=_seconds(ticks - start, time_base),
            duration_seconds=end,
            codec=stream.codec_context.name,
            video_stream=stream.index,
            warnings=(*other_videos_note(container, stream, Path(name).name), *notes),
            **_first_picture(data, stream.index),
        )
    return FileIndex(
        info=info,
        data=data,
        ticks=ticks,
        keyframes=np.flatnonzero(np.array(packets.keys)[order]).astype(np.int64),
        lookup=lookup,
        can_seek=lookup == "time" and packets.stamps is None,
        stamps=packets.stamps,
    )


def _read_packets(container: Any, stream: Any, name: str) -> _Packets:
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
    mended, notes = _mended(stamps, container, stream, name)
    used = mended or stamps
    pts, dts = [used[place][0] for place in shown], [used[place][1] for place in shown]
    return _Packets(pts, dts, durations, keys, discarded, corrupt, source.problem, mended, notes)


def _mended(stamps: Stamps, container: Any, stream: Any, name: str) -> tuple[Stamps | None, tuple[str, ...]]:
    """Stamps that can be true, None where the file's own are, and what has to be said of the others."""
    unit = float(stream.time_base)
    dts = [decoded for _, decoded in stamps]
    clock = mended_clock(dts, unit, clock_is_free=container.format.name in FREE_CLOCKS)
    moved: Stamps = [
        (None if shown is None else shown + shift, None if decoded is None else decoded + shift)
        for (shown, decoded), shift in zip(stamps, clock.shifts.tolist(), strict=True)
    ]
    apart = set(wild_showing(moved, unit))
    wild = sorted(apart.union(clock.wild.tolist()))
    if not clock.changes and not wild:
        return None, ()
    notes = [
        f"The time stamps of {name} go from {before * unit:g} to {after * unit:g} seconds; what follows was put behind "
        "what came before."
        for before, after in clock.restarts
    ]
    if wild:
        stamp = next((tick for tick in stamps[wild[0]] if tick is not None), 0)
        notes.append(
            f"{len(wild)} frames of {name} have a time stamp that does not fit their neighbours', the first is number "
            f"{wild[0]} at {stamp * unit:g} seconds; they were put between their neighbours."
        )
    usual = usual_delay(moved)
    mended: Stamps = [
        (decoded + usual, decoded) if place in apart and decoded is not None else (shown, decoded)
        for place, (shown, decoded) in enumerate(moved)
    ]
    return mended, tuple(notes)


def _place(
    packets: _Packets, stream: Any
) -> tuple[Int64Array, Int64Array, Literal["time", "count"], list[str]]:
    """Order the packets for presentation: ticks [F], file position of each [F], lookup, what was assumed."""
    count = len(packets.pts)
    in_order = np.arange(count)
    reorders = bool(stream.codec_context.has_b_frames)
    if None not in packets.pts and not (stream.container.format.name == "avi" and reorders):
        ticks = np.array(packets.pts, dtype=np.int64)
        order = np.argsort(ticks, kind="stable")
        return ticks[order], order, "time", []
    stamps = packets.pts if None not in packets.pts else packets.dts
    if None not in stamps:
        # AVI stores no presentation times: what the demuxer makes up follows the order of decoding.
        return np.sort(np.array(stamps, dtype=np.int64)), in_order, "count", []
    rate = stream.average_rate or stream.guessed_rate or FALLBACK_RATE
    ticks = np.round(in_order / float(rate * stream.time_base)).astype(np.int64)
    missing = sum(stamp is None for stamp in packets.pts)
    note = (
        f"{missing} of {count} frames have no time stamp; times are counted at {float(rate):g} frames per "
        "second. Put the stream into a container such as mp4 or mkv for true times."
    )
    return ticks, in_order, "count", [note]


def _start_tick(container: Any, stream: Any, packets: _Packets, first_tick: int) -> int:
    """The tick of 0 seconds: the container's start, or the first frame where the two agree or it has none.

    A transport stream may hold programmes with clocks of their own: a start far before the first frame is another's,
    or that of a wild stamp.
    """
    if container.start_time is None:
        return first_tick
    start = round(container.start_time * MICROSECOND / stream.time_base)
    may_be_another = container.format.name in FREE_CLOCKS or packets.stamps is not None
    if may_be_another and first_tick - start > OTHER_CLOCK_SECONDS / stream.time_base:
        return first_tick
    return first_tick if start >= first_tick - 1 else start


def _seconds(ticks: Int64Array, time_base: Fraction) -> Float64Array:
    """Ticks in seconds, rounded once: 3 * float(1/30) is not 0.1."""
    return np.asarray(ticks * time_base.numerator / time_base.denominator, dtype=np.float64)


def _median_step(ticks: Int64Array, stream: Any, time_base: Fraction) -> int:
    if len(ticks) > 1:
        return max(1, int(np.median(np.diff(ticks))))
    return max(1, round(1 / ((stream.average_rate or FALLBACK_RATE) * time_base)))


def _first_picture(data: str | bytes, video_stream: int) -> dict[str, Any]:
    """How the video is shown, from its first frame: see `as_shown`."""
    name = named(data)
    with open_container(data) as container:
        stream = video_stream_of(container, name, video_stream)
        problem: Exception | None = None
        for packet in Packets(container, stream):
            try:
                frame = next(iter(packet.decode()), None)
            except (av.FFmpegError, ValueError) as error:
                problem = error
                continue
            if frame is not None:
                return as_shown(frame, stream.sample_aspect_ratio)
    raise VideoError(
        f"No frame of {name!r} ({stream.codec_context.name}) can be decoded ({problem or 'no output'}); "
        "the data is damaged, or this build of FFmpeg has no decoder for it."
    ) from problem


def _damage(
    name: str, size_bytes: int, container: Any, stream: Any, packets: _Packets, end_seconds: float
) -> list[str]:
    """Everything that shows that the file is not what its header says."""
    notes = list(packets.clock_notes)
    if packets.problem:
        notes.append(f"Reading {name} ended early at {end_seconds:g} seconds ({packets.problem}).")
    if packets.num_corrupt:
        notes.append(f"{packets.num_corrupt} packets of {name} are damaged.")
    notes += _broken_promises(name, size_bytes, container, stream, packets, end_seconds)
    return notes


def _broken_promises(
    name: str, size_bytes: int, container: Any, stream: Any, packets: _Packets, end_seconds: float
) -> list[str]:
    found = len(packets.pts) + packets.num_discarded
    # AVI counts the frames it left out too
    if stream.frames > found + 1 and container.format.name != "avi":
        return [
            f"{name} breaks off: its header promises {stream.frames} frames, {found} are there "
            f"(up to {end_seconds:g} seconds); only those are used."
        ]
    # a wild stamp, or a clock that leapt, is in the header's length as well
    promised = None if packets.stamps is not None else _promised_seconds(container, stream)
    # a part of a longer stream goes on with the whole one's clock
    by_its_clock = max((tick for tick in packets.pts if tick is not None), default=0) * float(
        stream.time_base
    )
    slack = min(
        PROMISE_SLACK_SECONDS, max(2 * end_seconds / len(packets.pts), PROMISE_SLACK_SHARE * end_seconds)
    )
    if promised is not None and promised > max(end_seconds, by_its_clock) + slack:
        return [
            f"{name} breaks off: its header promises {promised:g} seconds, its video ends at "
            f"{end_seconds:g}; only that part is used."
        ]
    if container.format.name == "mpegts" and size_bytes % TS_PACKET_BYTES:
        return [f"{name} breaks off inside a packet, at {end_seconds:g} seconds; only that part is used."]
    return []


def _promised_seconds(container: Any, stream: Any) -> float | None:
    """The video's length by the header, None where no header tells it for the video alone."""
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    tag = _DURATION_TAG.match(stream.metadata.get("DURATION", ""))
    if tag:
        hours, minutes, seconds = tag.groups()
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    if container.duration is not None and len(container.streams) == 1:
        return float(container.duration * MICROSECOND)
    return None
