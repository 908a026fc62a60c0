"""Opening containers: FFmpeg's errors in framegate's words, and packets whose times never start over."""

from __future__ import annotations

import io
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np

from framegate.errors import VideoError, VideoNotFoundError
from framegate.tokenizers.clip.address import Content, brief
from framegate.tokenizers.clip.playlist import endless_playlist

# per packet of a stream: when it is shown and when it is decoded, in ticks
Stamps = list[tuple[int | None, int | None]]

# behind the last of pictures in parts, by RFC 2046: one that says so, an empty one, and one to spare
_CLOSING_LINES = 3
_VP8_SHOW_FRAME_BIT, _VP8_HEADER, _THEORA_HEADER_BIT = 0x10, b"OVP80", 0x80
# codecs with frames that are never shown, and those that may begin anew with a header
HIDING_CODECS, _CHAINED_CODECS = ("vp8",), ("theora", "vp8")
# decoders whose frame threads give damaged frames without a word, or not twice the same
_UNSAFE_FRAME_THREADS = ("ffv1", "vp8")
# a stream of less than this share of the largest one's pixels is a preview of it
_PREVIEW_SHARE = 0.5
# a stream that lasts for less is a single picture
_STILL_FRAMES = 1.5
# Matroska's way to tell a stream's length
_DURATION_TAG = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)$", re.ASCII)


def check_file(path: Path) -> None:
    """Check that there is a file to open: VideoNotFoundError for none, VideoError for a directory or an empty file."""
    if not path.exists():
        raise VideoNotFoundError(
            f"There is no file at {str(path)!r}; check the path, absolute or from the working directory. "
            "A camera is opened with its format, for example format='v4l2'."
        )
    if path.is_dir():
        raise VideoError(f"{str(path)!r} is a directory; give the path of one video file in it.")
    if not path.is_file():
        # opening a pipe that nobody writes to would wait for ever
        raise VideoError(
            f"{str(path)!r} is a pipe or a device, no file; open it as live, with format=, say 'mpegts' or 'v4l2'."
        )
    if path.stat().st_size == 0:
        raise VideoError(f"{str(path)!r} is empty (0 bytes); copy or download the video again.")
    if endless := endless_playlist(path):
        # FFmpeg would wait for the next segment, for ever
        raise VideoError(
            f"{str(endless)!r} is a playlist without an end: add a line #EXT-X-ENDLIST where the recording is over, or "
            "open it as live, with format='hls'."
        )


def open_container(
    source: str | bytes,
    *,
    format: str | None = None,
    options: Mapping[str, str] | None = None,
    timeout_seconds: float | None = None,
) -> Any:
    """Open a file, its bytes, an address or a device for reading, by FFmpeg's name of the format, None to find out.

    VideoError where it cannot be opened, is no video, or does not answer in time.
    """
    opened: Any = source
    options = dict(options or {})
    if isinstance(source, bytes):
        # a playlist among them must not open what it names on this machine
        opened, options = io.BytesIO(source), {"protocol_whitelist": "data", **options}
    began = time.monotonic()
    try:
        return av.open(
            opened,
            format=format,
            options=options,
            metadata_errors="replace",
            timeout=timeout_seconds,
        )
    except (av.FFmpegError, OSError, ValueError) as problem:
        # RTSP gives its time-out another name
        if timeout_seconds is not None and time.monotonic() - began >= timeout_seconds:
            raise VideoError(
                f"{named(source)!r} gave no video within {timeout_seconds:g} seconds; check that the source is "
                "sending, or raise timeout_seconds."
            ) from problem
        source = named(source)
        if "://" in source or format is not None:
            raise VideoError(
                f"{source!r} cannot be opened ({problem}); check the address or device, the network, and `format`."
            ) from problem
        raise VideoError(
            f"{source!r} cannot be opened as a video ({problem}). It is no video, its header is lost (an mp4 "
            "that was not finished has none), or its format is unknown; record it again, or repair it."
        ) from problem


def counted(count: int, one: str, many: str) -> str:
    """A number with what it counts."""
    return f"{count} {one if count == 1 else many}"


def named(source: object) -> str:
    """Name a source in messages: a path or address as it is, bytes by where they came from or their number."""
    if isinstance(source, Content):
        return brief(source.address)
    return f"<{len(source):,} bytes>" if isinstance(source, bytes) else str(source)


def video_stream_of(container: Any, source: str, index: int | None = None) -> Any:
    """Choose the video stream that a player would show: no cover, no still, no preview, the default one, the largest.

    Args:
        container: an open one.
        source: its name, for messages.
        index: number of the stream among all streams of the container; None to choose.

    Raises:
        VideoError: no such video stream, none at all, or one whose codec FFmpeg does not know.
    """
    if container.format.name == "tty":
        raise VideoError(f"{source!r} is a text, which FFmpeg would draw; give a file with moving pictures.")
    videos = [stream for stream in container.streams.video if not _is_picture(stream)]
    if not videos:
        raise VideoError(
            f"{source!r} holds no video, only {_kinds(container)}; give a file with moving pictures."
        )
    if index is not None:
        videos = [stream for stream in videos if stream.index == index]
    if not videos:
        known = ", ".join(str(stream.index) for stream in container.streams.video if not _is_picture(stream))
        raise VideoError(f"video_stream is {index}, which is no video stream of {source!r}; it has {known}.")
    known_codec = [
        stream for stream in videos if stream.codec_context is not None and stream.codec_context.name
    ]
    if not known_codec:
        raise VideoError(
            f"The video codec of {source!r} is unknown to this build of FFmpeg; convert it, say to H.264."
        )
    moving = [stream for stream in known_codec if not _is_still(stream)] or known_codec
    largest = max(map(_area, moving))
    whole = [stream for stream in moving if _area(stream) >= _PREVIEW_SHARE * largest]
    return max(whole, key=lambda stream: (_is_default(stream), _area(stream), -stream.index))


def other_videos_note(container: Any, stream: Any, name: str) -> tuple[str, ...]:
    """Say which of several video streams was taken, if there are several."""
    others = [other for other in container.streams.video if not _is_picture(other) and other is not stream]
    if not others:
        return ()
    told, taken = ", ".join(map(_told, others)), _told(stream)
    return (
        f"{name} holds {len(others) + 1} video streams; {taken} was taken (the others: {told}). Choose another with "
        "video_stream.",
    )


def _told(stream: Any) -> str:
    width, height = _size_px(stream)
    return f"{stream.index} of {width} x {height} px"


def _area(stream: Any) -> int:
    width, height = _size_px(stream)
    return width * height


def _size_px(stream: Any) -> tuple[int, int]:
    """Width and height; 0 of a stream whose codec is unknown."""
    context = stream.codec_context
    return (0, 0) if context is None else (int(context.width or 0), int(context.height or 0))


def _is_default(stream: Any) -> bool:
    return bool(stream.disposition & av.stream.Disposition.default)


def _is_picture(stream: Any) -> bool:
    """A cover, or thumbnails for a player's time line."""
    pictures = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    return bool(stream.disposition & pictures)


def _is_still(stream: Any) -> bool:
    """True of a stream of one frame, by what the container tells."""
    if stream.frames:
        return bool(stream.frames == 1)
    seconds, rate = told_seconds(stream), stream.average_rate or stream.guessed_rate
    return bool(seconds and rate and seconds * float(rate) < _STILL_FRAMES)


def told_seconds(stream: Any) -> float | None:
    """A stream's own length by its container, None where it does not tell."""
    own = None if stream.duration is None else float(stream.duration * stream.time_base)
    tag = _DURATION_TAG.match(stream.metadata.get("DURATION", ""))
    if tag is None:
        return own
    hours, minutes, seconds = tag.groups()
    whole = stream.container.duration
    # FFmpeg may put the container's length in place of the stream's, and a tag may be older than the file
    told = (int(hours) * 3600 + int(minutes) * 60 + float(seconds), own, whole and whole / av.time_base)
    return min(length for length in told if length is not None)


def _kinds(container: Any) -> str:
    kinds = {
        "a cover picture" if stream.type == "video" else stream.type or "data" for stream in container.streams
    }
    return " and ".join(sorted(kinds, key=lambda kind: (kind == "a cover picture", kind))) or "nothing"


def is_shown(packet: Any, codec: str) -> bool:
    """Tell whether a packet gives a frame to show: no flush, not discarded, no hidden VP8 frame."""
    if packet.size == 0 or packet.is_discard:
        return False
    return codec not in HIDING_CODECS or bool(bytes(packet)[0] & _VP8_SHOW_FRAME_BIT)


def packets_tell_times(stream: Any) -> bool:
    """Tell whether packets say when they are shown; AVI says it of none whose order of showing is not the file's."""
    return not (stream.container.format.name == "avi" and stream.codec_context.has_b_frames)


def is_raw_stream(container: Any) -> bool:
    """Tell whether there is only a stream: pictures end to end, without a container that would tell their times."""
    has_no_times = av.format.Flags(container.format.flags) & av.format.Flags.no_timestamps
    return bool(has_no_times) or container.format.name.endswith("_pipe")


def ends_with_boundary(container: Any, stream: Any) -> bool:
    """Tell whether pictures in parts, of which FFmpeg found no more, end with the boundary that promises another."""
    if container.format.name != "mpjpeg":
        return False
    for _ in range(_CLOSING_LINES):
        try:
            return all(packet.size == 0 for packet in container.demux(stream))
        except av.error.InvalidDataError:
            # this was one more line
            continue
        except av.FFmpegError:
            return False
    return False


def _is_header(packet: Any, codec: str) -> bool:
    """Tell whether a packet is what the next part of a chained Ogg begins with; decoders take it for damage."""
    begin = memoryview(packet)[: len(_VP8_HEADER)].tobytes() if codec in _CHAINED_CODECS else b""
    return begin == _VP8_HEADER if codec == "vp8" else bool(begin and begin[0] & _THEORA_HEADER_BIT)


class Packets:
    """The packets of a stream's pictures from where its container stands, up to where reading fails.

    Args:
        container: the opened container.
        stream: the video stream.
        stamps: stamps of showing and of decoding to put in place of the packets' own, by their number from the start;
            None where the container's clock is right.

    `problem` holds the error that ended reading early, if any.
    """

    def __init__(self, container: Any, stream: Any, stamps: Stamps | None = None) -> None:
        self._packets, self._codec = container.demux(stream), stream.codec_context.name
        self._stamps = stamps
        self.problem: str | None = None

    def __iter__(self) -> Iterator[Any]:
        number, may_begin_anew = 0, self._codec in _CHAINED_CODECS
        try:
            for packet in self._packets:
                if may_begin_anew and _is_header(packet, self._codec):
                    continue
                # the empty packet at the end flushes the decoder
                if self._stamps is not None and packet.size > 0:
                    if number < len(self._stamps):
                        packet.pts, packet.dts = self._stamps[number]
                    number += 1
                yield packet
        except (av.FFmpegError, ValueError) as problem:
            self.problem = str(problem)


def use_threads(stream: Any) -> None:
    """Let several threads decode a stream, and bound them: each holds a frame, so memory would grow with them."""
    unsafe = stream.codec_context.name in _UNSAFE_FRAME_THREADS
    stream.thread_type = "SLICE" if unsafe else "AUTO"
    stream.codec_context.thread_count = counted_threads(os.cpu_count())


def counted_threads(cpus: int | None) -> int:
    """Threads of a decoder on a machine."""
    return int(np.clip(cpus or 1, 1, 8))
