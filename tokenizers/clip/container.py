"""Opening containers: FFmpeg's errors in framegate's words, and packets whose times never start over."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np

from framegate.errors import VideoError, VideoNotFoundError

_VP8_SHOW_FRAME_BIT = 0x10


def check_file(path: Path) -> None:
    """Check that there is a file to open: VideoNotFoundError for none, VideoError for a directory or an empty file."""
    if not path.exists():
        raise VideoNotFoundError(
            f"There is no file at {str(path)!r}; check the path, absolute or from the working directory. "
            "A camera is opened with its format, for example format='v4l2'."
        )
    if path.is_dir():
        raise VideoError(f"{str(path)!r} is a directory; give the path of one video file in it.")
    if path.stat().st_size == 0:
        raise VideoError(f"{str(path)!r} is empty (0 bytes); copy or download the video again.")


def open_container(
    source: str | bytes, *, format: str | None = None, options: Mapping[str, str] | None = None
) -> Any:
    """Open a file, its bytes, an address or a device for reading, by FFmpeg's name of the format, None to find out.

    VideoError where it cannot be opened, or is no video.
    """
    opened = io.BytesIO(source) if isinstance(source, bytes) else source
    try:
        return av.open(opened, format=format, options=dict(options or {}), metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as problem:
        source = named(source)
        if "://" in source or format is not None:
            raise VideoError(
                f"{source!r} cannot be opened ({problem}); check the address or device, the network, and `format`."
            ) from problem
        raise VideoError(
            f"{source!r} cannot be opened as a video ({problem}). It is no video, its header is lost (an mp4 "
            "that was not finished has none), or its format is unknown; record it again, or repair it."
        ) from problem


def named(source: object) -> str:
    """Name a source in messages: a path or address as it is, bytes by their number."""
    return f"<{len(source):,} bytes>" if isinstance(source, bytes) else str(source)


def video_stream_of(container: Any, source: str) -> Any:
    """Find the first video stream of a container, decoder known; cover pictures do not count.

    VideoError for no video stream, or one whose codec FFmpeg does not know.
    """
    videos = [stream for stream in container.streams.video if not _is_cover(stream)]
    if not videos:
        kinds = sorted({stream.type for stream in container.streams}) or ["nothing"]
        raise VideoError(
            f"{source!r} holds no video stream, only {', '.join(kinds)}; give a file with pictures."
        )
    stream = videos[0]
    context = stream.codec_context
    if context is None or not context.name:
        raise VideoError(
            f"The video codec of {source!r} is unknown to this build of FFmpeg; convert it, say to H.264."
        )
    return stream


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def is_shown(packet: Any, codec: str) -> bool:
    """Tell whether a packet gives a frame to show: no flush, not discarded, no hidden VP8 frame."""
    if packet.size == 0 or packet.is_discard:
        return False
    return codec != "vp8" or bool(bytes(packet)[0] & _VP8_SHOW_FRAME_BIT)


class ContinuousPackets:
    """The packets of a stream from its start, with time stamps that start over moved behind what came before.

    Args:
        container: the opened container, at its start.
        stream: the video stream.

    `restarts` holds (time before, time after) in ticks of every such place, `problem` the error that ended
    reading early, if any.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        self._packets = container.demux(stream)
        self._offset = 0
        self._last_dts: int | None = None
        self._step = 1
        self.restarts: list[tuple[int, int]] = []
        self.problem: str | None = None

    def __iter__(self) -> Iterator[Any]:
        while True:
            try:
                packet = next(self._packets, None)
            except av.FFmpegError as problem:
                self.problem = str(problem)
                return
            if packet is None:
                return
            self._move(packet)
            yield packet

    def _move(self, packet: Any) -> None:
        if packet.dts is None:
            return
        dts = packet.dts + self._offset
        if self._last_dts is not None and dts < self._last_dts:
            self.restarts.append((self._last_dts, dts))
            self._offset += self._last_dts + self._step - dts
            dts = packet.dts + self._offset
        elif self._last_dts is not None:
            self._step = max(1, dts - self._last_dts)
        self._last_dts = dts
        if self._offset:
            packet.dts = dts
            packet.pts = None if packet.pts is None else packet.pts + self._offset


def counted_threads(cpus: int | None) -> int:
    """Bound the decoder's threads: each holds a frame, so memory would grow with the machine."""
    return int(np.clip(cpus or 1, 1, 8))
