"""How a video is opened: what kind of source it is, and which settings go with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Annotated, Any

from framegate.errors import FrameError
from framegate.settings import Positive, Range, read_all, settings_of
from framegate.tokenizers.caps import NO_CAPS, Caps
from framegate.tokenizers.clip.address import SCHEME, checked_name, located
from framegate.tokenizers.clip.container import named
from framegate.tokenizers.clip.file_index import FileIndex, index_file
from framegate.tokenizers.clip.live_reader import LiveReader
from framegate.tokenizers.clip.live_source import LiveSource
from framegate.tokenizers.clip.memory_source import MemoryFrames, describe
from framegate.tokenizers.clip.segments import Segment, SegmentSource
from framegate.tokenizers.clip.stream import FileSource, MemorySource, Source, VideoStream
from framegate.tokenizers.clip.window import WHOLE, Window, check_window
from framegate.types import VideoInfo

Note = Callable[[str], None]

LIVE_TIMEOUT_SECONDS = 30.0
NotNegative = Annotated[float, Range(least=0)]
# of a stream without an end, so that what it is warned of does not grow for ever
_MOST_NOTES = 100
# settings that one kind of source alone can follow
_OWN_SETTINGS = {
    "live sources": ("live_fps", "format", "options", "timeout_seconds", "drop_late", "reconnect_seconds"),
    "frames in memory": ("timestamps_seconds", "fps"),
    "files and live sources": ("video_stream",),
}


def probe(source: str | PathLike[str]) -> VideoInfo:
    """Look at a video file: its packets are read, and one frame is decoded to learn the rotation.

    Args:
        source: path or file:// address of the file.

    Returns:
        Its VideoInfo. Frame times are the container's, right on variable-rate files, with the container's
        first instant (the earliest of its streams) at 0 seconds: the first frame usually is at 0.0, later
        when the sound starts before the pictures. Frames without time stamps are counted, with a warning.

    Raises:
        VideoNotFoundError: no such file.
        VideoError: a directory, no video, an unknown codec, no frame, or none that can be decoded.
    """
    source = located(source)
    if not isinstance(source, str | PathLike):
        raise FrameError(
            f"{type(source).__name__} is no path; only files can be probed and planned beforehand."
        )
    if SCHEME.match(str(source)):
        raise FrameError(
            f"{source} is a live source without known frames; read it with framegate.open_video and "
            "framegate.gate_stream."
        )
    return index_file(Path(source)).info


def open_video(
    source: Any,
    *,
    window_seconds: Window = WHOLE,
    timestamps_seconds: Sequence[float] | None = None,
    fps: float | None = None,
    live_fps: float | None = None,
    format: str | None = None,
    options: dict[str, str | int | float] | None = None,
    channels_first: bool | None = None,
    video_stream: int | None = None,
    timeout_seconds: Positive | None = None,
    drop_late: bool | None = None,
    reconnect_seconds: NotNegative | None = None,
    caps: Caps = NO_CAPS,
) -> VideoStream:
    """Open a video: a file, frames in memory, or a live source.

    Args:
        source: path, file:// or data: address, a file's bytes or an open file, or what `indexed` knows of one; or
            frames in memory, array or tensor
            [F, h, w, 3], [F, 3, h, w] or grey
            [F, h, w], whole numbers in 0 to 255 or floating point in [0, 1] or [0, 255], or a list of such frames, PIL
            images or paths of pictures; or a live source, an address such as rtsp:// or http://, or a device's name
            together with `format`.
        window_seconds: clip window [start, end) in seconds, None for an open end.
        timestamps_seconds: times of frames in memory.
        fps: rate of frames in memory, instead of their times; 24, with a warning, when neither is given.
        live_fps: most frames per second of a live source, None for every frame.
        format: FFmpeg's name of a device's or live stream's format, say "v4l2"; makes the source live.
        channels_first: where the channels of frames in memory stand; None looks for an axis of 3 or 1.
        options: FFmpeg's options of a live source, by name.
        video_stream: number of the video stream among all streams of a file or live source; None for the one that a
            player would show: no cover, no still, no preview, the default one, the largest.
        timeout_seconds: how long a live source may be silent, above 0; None for 30.
        drop_late: frames of a live source that nobody takes in time give way to newer ones, and are counted
            (`dropped_frames`); None and False let the source wait, as one that says how long it is always does.
        reconnect_seconds: a live source that ends or falls silent is opened again (`reconnections`), until it gave no
            frame for so long; its times go on by our clock. One that says how long it is ends when it ends. None for 0,
            not at all.
        caps: the most pixels of a frame, and frames where they are in memory.

    Returns:
        The stream; use it in a `with` statement.

    Raises:
        VideoNotFoundError: no such file.
        VideoError: the source cannot be opened, or holds no video that can be decoded.
        FrameError: frames or times in memory that cannot be used, a window that holds no frame, or a setting
            that does not belong to this kind of source.
        ConfigError: a setting of another kind, or a time limit that is not above 0.
        CapError: beyond the caps.
    """
    check_window(window_seconds)
    given = read_all(
        {
            "timestamps_seconds": timestamps_seconds,
            "fps": fps,
            "live_fps": live_fps,
            "format": format,
            "options": options,
            "channels_first": channels_first,
            "video_stream": video_stream,
            "timeout_seconds": timeout_seconds,
            "drop_late": drop_late,
            "reconnect_seconds": reconnect_seconds,
        },
        settings_of(open_video),
    )
    # a device has a name of its own
    source = checked_name(source) if format and isinstance(source, str | PathLike) else located(source)
    is_path = isinstance(source, str | PathLike)
    is_file = is_path or isinstance(source, bytes | FileIndex)
    is_live = is_path and (format is not None or SCHEME.match(str(source)) is not None)
    _refuse(source, given, is_live=is_live, is_file=is_file)
    warnings: list[str] = []
    opened: Source | LiveSource
    if is_live:
        note = _once(warnings)
        reader = LiveReader(
            str(source),
            format=format,
            options={name: str(value) for name, value in (given["options"] or {}).items()},
            video_stream=video_stream,
            timeout_seconds=LIVE_TIMEOUT_SECONDS if timeout_seconds is None else timeout_seconds,
            drops_late=bool(drop_late),
            reconnect_seconds=reconnect_seconds or 0.0,
            note=note,
        )
        opened = LiveSource(reader, note)
    elif is_file:
        opened = FileSource(indexed(source, video_stream, caps), _once(warnings), window_seconds)
    else:
        frames = MemoryFrames(source, channels_first=channels_first, caps=caps)
        opened = MemorySource(frames, describe(frames, timestamps_seconds, fps), window_seconds)
    warnings.extend(opened.info.warnings)
    return VideoStream(opened, window_seconds=window_seconds, live_fps=live_fps, warnings=warnings)


def open_segments(
    segments: Iterable[Segment], *, live_fps: float | None = None, caps: Caps = NO_CAPS
) -> VideoStream:
    """Open files that follow one another as one live stream.

    Args:
        segments: paths or bytes in order of time; an iterator may wait for the next one. What cannot be read is left
            out, with a warning.
        live_fps: most frames per second, None for every frame.
        caps: the most pixels of a frame.

    Returns:
        The stream, read once; use it in a `with` statement.

    Raises:
        VideoError: none of them can be read.
    """
    warnings: list[str] = []
    source = SegmentSource(segments, lambda segment: indexed(located(segment), None, caps), _once(warnings))
    return VideoStream(source, window_seconds=WHOLE, live_fps=live_fps, warnings=warnings)


def indexed(
    source: str | PathLike[str] | bytes | FileIndex, video_stream: int | None = None, caps: Caps = NO_CAPS
) -> FileIndex:
    """Read a file's packets, so that it can be opened several times without reading them again.

    Args:
        source: path or bytes of the file, or its index.
        video_stream: as for `open_video`; of an index that is what it was made with.
        caps: as for `open_video`.

    Returns:
        The index, which `open_video` takes in place of the file.

    Raises:
        VideoNotFoundError: no such file.
        VideoError: no video, unknown codec, no frame, or none that can be decoded.
    """
    if isinstance(source, FileIndex):
        return source
    data = source if isinstance(source, bytes) else Path(source)
    return index_file(data, video_stream=video_stream, caps=caps)


def _refuse(source: Any, given: Mapping[str, Any], *, is_live: bool, is_file: bool) -> None:
    """Refuse settings that this kind of source cannot follow, rather than ignore them."""
    source = source.data if isinstance(source, FileIndex) else source
    name = named(source) if is_file else f"a {type(source).__name__} in memory"
    follows = {"live sources": is_live, "frames in memory": not is_file, "files and live sources": is_file}
    for owner, settings in _OWN_SETTINGS.items():
        for key in settings:
            if given[key] is not None and not follows[owner]:
                raise FrameError(
                    f"{key}={given[key]!r} is for {owner}, but the source is {name}; leave it out."
                )


def _once(warnings: list[str]) -> Note:
    def note(text: str) -> None:
        if text not in warnings and len(warnings) < _MOST_NOTES:
            warnings.append(text if len(warnings) < _MOST_NOTES - 1 else "Further warnings were left out.")

    return note
