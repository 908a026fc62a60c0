"""What a video file holds, by its packets: when each frame shows, and where decoding can start."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np

from framegate.errors import VideoError
from framegate.tokenizers.clip.container import (
    ContinuousPackets,
    check_file,
    is_shown,
    named,
    open_container,
    video_stream_of,
)
from framegate.types import Float64Array, Int64Array, VideoInfo

MICROSECOND = Fraction(1, 1_000_000)
FALLBACK_RATE = Fraction(25)
TS_PACKET_BYTES = 188
# A file whose video ends this much before its header says is reported as cut off.
PROMISE_SLACK_SECONDS = 1.0


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
    """

    info: VideoInfo
    data: str | bytes = field(repr=False)
    ticks: Int64Array = field(repr=False)
    keyframes: Int64Array = field(repr=False)
    lookup: Literal["time", "count"]
    can_seek: bool


@dataclass(frozen=True)
class _Packets:
    """Per shown packet, in order of the file: stamps in ticks (None: missing), length, keyframe or not."""

    pts: list[int | None]
    dts: list[int | None]
    durations: list[int]
    keys: list[bool]
    num_discarded: int
    num_corrupt: int
    restarts: list[tuple[int, int]]
    problem: str | None


def index_file(source: Path | bytes) -> FileIndex:
    """Read all packets of a file, and decode its first frame to learn the rotation.

    Args:
        source: the video file, or its bytes.

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
        stream = video_stream_of(container, name)
        packets = _read_packets(container, stream)
        if not packets.pts:
            raise VideoError(f"{name!r} has a video stream but no frame in it; record it again.")
        time_base = stream.time_base
        ticks, order, lookup, notes = _place(packets, stream)
        start = _start_tick(container, int(ticks[0]), time_base) if lookup == "time" else int(ticks[0])
        step = packets.durations[order[-1]] or _median_step(ticks, stream, time_base)
        end = float((int(ticks[-1]) + step - start) * time_base)
        size_bytes = len(source) if isinstance(source, bytes) else source.stat().st_size
        notes += _damage(Path(name).name, size_bytes, container, stream, packets, end)
        width, height, rotation = _shape(data)
        info = VideoInfo(
            source=name if isinstance(source, bytes) else source,
            width_px=width,
            height_px=height,
            frame_times_seconds=_seconds(ticks - start, time_base),
            duration_seconds=end,
            codec=stream.codec_context.name,
            rotation_degrees=rotation,
            warnings=tuple(notes),
        )
    keyframes = np.flatnonzero(np.array(packets.keys)[order]).astype(np.int64)
    can_seek = lookup == "time" and not packets.restarts
    return FileIndex(info=info, data=data, ticks=ticks, keyframes=keyframes, lookup=lookup, can_seek=can_seek)


def _read_packets(container: Any, stream: Any) -> _Packets:
    pts: list[int | None] = []
    dts: list[int | None] = []
    durations: list[int] = []
    keys: list[bool] = []
    discarded = corrupt = 0
    source = ContinuousPackets(container, stream)
    for packet in source:
        discarded += packet.size > 0 and packet.is_discard
        if not is_shown(packet, stream.codec_context.name):
            continue
        pts.append(packet.pts)
        dts.append(packet.dts)
        durations.append(packet.duration or 0)
        keys.append(packet.is_keyframe)
        corrupt += packet.is_corrupt
    return _Packets(pts, dts, durations, keys, discarded, corrupt, source.restarts, source.problem)


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


def _start_tick(container: Any, first_tick: int, time_base: Fraction) -> int:
    """The tick of 0 seconds: the container's start, or the first frame where the two agree or it has none."""
    if container.start_time is None:
        return first_tick
    start = round(container.start_time * MICROSECOND / time_base)
    return first_tick if start >= first_tick - 1 else start


def _seconds(ticks: Int64Array, time_base: Fraction) -> Float64Array:
    """Ticks in seconds, rounded once: 3 * float(1/30) is not 0.1."""
    return np.asarray(ticks * time_base.numerator / time_base.denominator, dtype=np.float64)


def _median_step(ticks: Int64Array, stream: Any, time_base: Fraction) -> int:
    if len(ticks) > 1:
        return max(1, int(np.median(np.diff(ticks))))
    return max(1, round(1 / ((stream.average_rate or FALLBACK_RATE) * time_base)))


def _shape(data: str | bytes) -> tuple[int, int, int]:
    """Width, height as shown and clockwise rotation, from the first frame: it carries the display matrix."""
    name = named(data)
    with open_container(data) as container:
        stream = video_stream_of(container, name)
        problem: Exception | None = None
        for packet in ContinuousPackets(container, stream):
            try:
                frame = next(iter(packet.decode()), None)
            except (av.FFmpegError, ValueError) as error:
                problem = error
                continue
            if frame is not None:
                rotation = clockwise(frame.rotation)
                turned = rotation in (90, 270)
                return (*((frame.height, frame.width) if turned else (frame.width, frame.height)), rotation)
    raise VideoError(
        f"No frame of {name!r} ({stream.codec_context.name}) can be decoded ({problem or 'no output'}); "
        "the data is damaged, or this build of FFmpeg has no decoder for it."
    ) from problem


def clockwise(counterclockwise_degrees: float) -> int:
    """Turn FFmpeg's display angle into the clockwise quarter turn nearest to it: 0, 90, 180 or 270."""
    return round(-counterclockwise_degrees / 90) % 4 * 90


def _damage(
    name: str, size_bytes: int, container: Any, stream: Any, packets: _Packets, end_seconds: float
) -> list[str]:
    """Everything that shows that the file is not what its header says."""
    notes = []
    unit = float(stream.time_base)
    for before, after in packets.restarts:
        notes.append(
            f"The time stamps of {name} go back from {before * unit:g} to {after * unit:g} seconds; "
            "what follows was put behind what came before."
        )
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
    promised = _promised_seconds(container, stream)
    if promised is not None and promised > end_seconds + PROMISE_SLACK_SECONDS:
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
    tag = stream.metadata.get("DURATION")
    if tag and tag.count(":") == 2:
        hours, minutes, seconds = tag.split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    if container.duration is not None and len(container.streams) == 1:
        return float(container.duration * MICROSECOND)
    return None
