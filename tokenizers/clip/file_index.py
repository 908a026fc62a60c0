"""What a video file holds, by its packets: when each frame shows, and where decoding can start."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np

from framegate.errors import VideoError
from framegate.tokenizers.caps import NO_CAPS, Caps
from framegate.tokenizers.clip.as_shown import PixelAspects, as_shown, odd_pixels_note
from framegate.tokenizers.clip.clock import FREE_CLOCKS
from framegate.tokenizers.clip.container import (
    Packets,
    Stamps,
    check_file,
    counted,
    is_raw_stream,
    named,
    open_container,
    other_videos_note,
    packets_tell_times,
    told_seconds,
    video_stream_of,
)
from framegate.tokenizers.clip.file_packets import FilePackets, read_packets
from framegate.types import Float64Array, Int64Array, VideoInfo

MICROSECOND = Fraction(1, 1_000_000)
FALLBACK_RATE = Fraction(25)
# what a raw stream calls its rate is a clock above this, and always for these codecs, which skip its ticks
_FASTEST_RATE, _CLOCKED_CODECS = 240, ("h261", "h263")
TS_PACKET_BYTES = 188
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
        lookup: how a decoded frame finds its place: by its time stamp, or by counting frames from the start.
        can_seek: decoding may start at a keyframe.
        stamps: of all packets, where the container's clock had to be mended; None where it is right.
        caps: the most pixels of a frame, which may grow on the way.
    """

    info: VideoInfo
    data: str | bytes = field(repr=False)
    ticks: Int64Array = field(repr=False)
    lookup: Literal["time", "count"]
    can_seek: bool
    stamps: Stamps | None = field(default=None, repr=False)
    caps: Caps = NO_CAPS


def index_file(source: Path | bytes, *, video_stream: int | None = None, caps: Caps = NO_CAPS) -> FileIndex:
    """Read all packets of a file, and decode its first frame to learn how it is shown.

    Args:
        source: the video file, or its bytes.
        video_stream: number of the stream among all of the container's; None for the one a player would show.
        caps: the most pixels of a frame.

    Returns:
        The index. The first instant of the container (the earliest of its streams) is 0 seconds, so the first
        frame usually is at 0.0, later when the sound starts first.

    Raises:
        VideoNotFoundError: no such file.
        VideoError: no video, unknown codec, no frame, or none that can be decoded.
        CapError: larger frames than the caps allow.
    """
    if isinstance(source, Path):
        check_file(source)
    data, name = source if isinstance(source, bytes) else str(source), named(source)
    with open_container(data) as container:
        stream = video_stream_of(container, name, video_stream)
        caps.check_pixels(stream.codec_context.width, stream.codec_context.height, repr(name))
        packets = read_packets(container, stream, data)
        if not packets.pts:
            raise VideoError(f"{name!r} has a video stream but no frame in it; record it again.")
        time_base = stream.time_base
        ticks, order, lookup, notes = _place(packets, stream, Path(name).name)
        start = int(ticks[0])
        if lookup == "time":
            start, other_clock = _start_tick(container, stream, packets, start, Path(name).name)
            notes += other_clock
        step = packets.durations[order[-1]] or _median_step(ticks, stream, time_base)
        end = float((int(ticks[-1]) + step - start) * time_base)
        size_bytes = len(source) if isinstance(source, bytes) else source.stat().st_size
        notes += _damage(Path(name).name, size_bytes, container, stream, packets, end)
        shown, odd_pixels = _first_picture(data, stream.index)
        info = VideoInfo(
            source=name if isinstance(source, bytes) else source,
            content=source if isinstance(source, bytes) else None,
            frame_times_seconds=_seconds(ticks - start, time_base),
            duration_seconds=end,
            codec=stream.codec_context.name,
            video_stream=stream.index,
            codec_keyframes=np.flatnonzero(np.array(packets.keys)[order]).astype(np.int64),
            warnings=(*other_videos_note(container, stream, Path(name).name), *odd_pixels, *notes),
            **shown,
        )
    return FileIndex(
        info=info,
        data=data,
        ticks=ticks,
        lookup=lookup,
        can_seek=lookup == "time" and packets.stamps is None,
        stamps=packets.stamps,
        caps=caps,
    )


def _place(
    packets: FilePackets, stream: Any, name: str
) -> tuple[Int64Array, Int64Array, Literal["time", "count"], list[str]]:
    """Order the packets for presentation: ticks [F], file position of each [F], lookup, what was assumed."""
    count = len(packets.pts)
    in_order = np.arange(count)
    is_raw = is_raw_stream(stream.container)
    rate = _told_rate(stream, is_raw)
    # FFmpeg stamps raw streams by their own rate, or by one that it makes up
    is_guess = is_raw and rate is None and count > 1
    if None not in packets.pts and packets_tell_times(stream) and not is_guess:
        ticks = np.array(packets.pts, dtype=np.int64)
        order = np.argsort(ticks, kind="stable")
        return ticks[order], order, "time", []
    stamps = packets.pts if None not in packets.pts else packets.dts
    if None not in stamps and not is_guess:
        # AVI stores no presentation times: what the demuxer makes up follows the order of decoding.
        return np.sort(np.array(stamps, dtype=np.int64)), in_order, "count", []
    ticks = np.round(in_order / float((rate or FALLBACK_RATE) * stream.time_base)).astype(np.int64)
    if is_raw and rate is not None:
        return ticks, in_order, "count", []
    missing = count if is_guess else sum(stamp is None for stamp in packets.pts)
    note = (
        f"{missing} of {count} frames of {name} have no time stamp; times are counted at "
        f"{float(rate or FALLBACK_RATE):g} frames per second{'' if rate else ', a guess'}. Give the true rate with "
        "ffmpeg -r RATE -i FILE NEW.mp4."
    )
    return ticks, in_order, "count", [note]


def _told_rate(stream: Any, is_raw: bool) -> Fraction | None:
    """The rate that a stream says of itself, None where it says none."""
    if not is_raw:
        rate: Fraction | None = stream.average_rate or stream.guessed_rate
        return rate
    rate = stream.codec_context.framerate
    return (
        rate if rate and rate <= _FASTEST_RATE and stream.codec_context.name not in _CLOCKED_CODECS else None
    )


def _start_tick(
    container: Any, stream: Any, packets: FilePackets, first_tick: int, name: str
) -> tuple[int, tuple[str, ...]]:
    """The tick of 0 seconds: the container's start, or the first frame where the two agree or it has none; and notes.

    A transport stream may hold programmes with clocks of their own: a start far before the first frame is another's.
    """
    start = _container_start(container, stream, packets)
    if start is None or start >= first_tick - 1:
        return first_tick, ()
    early_seconds = float((first_tick - start) * stream.time_base)
    may_be_another = container.format.name in FREE_CLOCKS or packets.stamps is not None
    if may_be_another and early_seconds > OTHER_CLOCK_SECONDS:
        return first_tick, (
            f"{name} starts {early_seconds:g} seconds before its video, as by the clock of another programme; the "
            "first frame was put at 0.",
        )
    return start, ()


def _container_start(container: Any, stream: Any, packets: FilePackets) -> int | None:
    """The first tick of all streams; of the others where the video's own was mended, for a wild one may be first."""
    if packets.stamps is None:
        starts = () if container.start_time is None else (container.start_time * MICROSECOND,)
    else:
        others = (*container.streams.video, *container.streams.audio)
        starts = tuple(
            other.start_time * other.time_base
            for other in others
            if other is not stream and other.start_time is not None
        )
    return min((round(start / stream.time_base) for start in starts), default=None)


def _seconds(ticks: Int64Array, time_base: Fraction) -> Float64Array:
    """Ticks in seconds, rounded once: 3 * float(1/30) is not 0.1."""
    return np.asarray(ticks * time_base.numerator / time_base.denominator, dtype=np.float64)


def _median_step(ticks: Int64Array, stream: Any, time_base: Fraction) -> int:
    if len(ticks) > 1:
        return max(1, int(np.median(np.diff(ticks))))
    return max(1, round(1 / ((stream.average_rate or FALLBACK_RATE) * time_base)))


def _first_picture(data: str | bytes, video_stream: int) -> tuple[dict[str, Any], tuple[str, ...]]:
    """How the video is shown, from its first frame: see `as_shown`; and notes."""
    name = named(data)
    with open_container(data) as container:
        stream = video_stream_of(container, name, video_stream)
        aspects, problem = PixelAspects(stream), None
        for packet in Packets(container, stream):
            try:
                frame = next(iter(packet.decode()), None)
            except (av.FFmpegError, ValueError) as error:
                problem = error
                continue
            if frame is not None:
                aspect = aspects.of(frame)
                return as_shown(frame, aspect), odd_pixels_note(aspect, Path(name).name)
    raise VideoError(
        f"No frame of {name!r} ({stream.codec_context.name}) can be decoded ({problem or 'no output'}); "
        "the data is damaged, or this build of FFmpeg has no decoder for it."
    ) from problem


def _damage(
    name: str, size_bytes: int, container: Any, stream: Any, packets: FilePackets, end_seconds: float
) -> list[str]:
    """Everything that shows that the file is not what its header says."""
    notes = list(packets.clock_notes)
    if packets.problem:
        notes.append(f"Reading {name} ended early at {end_seconds:g} seconds ({packets.problem}).")
    if packets.num_corrupt:
        places = counted(packets.num_corrupt, "place", "places")
        notes.append(
            f"Packets of {name} break off, or their counter jumps, at {places}, as where data was lost or files were "
            "joined."
        )
    notes += _broken_promises(name, size_bytes, container, stream, packets, end_seconds)
    return notes


def _broken_promises(
    name: str, size_bytes: int, container: Any, stream: Any, packets: FilePackets, end_seconds: float
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
    seconds = told_seconds(stream)
    if seconds is None and container.duration is not None and len(container.streams) == 1:
        return float(container.duration * MICROSECOND)
    return seconds
