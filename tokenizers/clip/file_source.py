"""Frames of a file: decoded in order, skipping ahead to keyframes where that saves decoding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

import av
import numpy as np
from av.video.frame import PictureType

from framegate.errors import VideoError
from framegate.tokenizers.clip.as_shown import PixelAspects
from framegate.tokenizers.clip.container import (
    Packets,
    counted,
    is_shown,
    open_container,
    use_threads,
    video_stream_of,
)
from framegate.tokenizers.clip.file_index import FileIndex
from framegate.tokenizers.clip.pixels import PixelConverter, View
from framegate.types import Frame, Int64Array

# A seek empties the decoder's pipeline, which costs about as much as decoding this many frames.
SEEK_COST_FRAMES = 12
KEYFRAMES_TRIED = 2

Note = Callable[[str], None]


def read_frames(index: FileIndex, wanted: Int64Array, view: View, note: Note) -> Iterator[Frame]:
    """Decode the wanted frames of a file, int64 [F] not decreasing, one at a time; one named twice is given twice.

    Frames that cannot be decoded are left out, with a note at the end of the pass.

    Raises:
        VideoError: the file has gone, or not one wanted frame could be decoded.
        CapError: a frame is larger than the index's caps allow, though the first was not.
    """
    reader = FileReader(index)
    convert = PixelConverter(view, index.info, note)
    lost: list[int] = []
    try:
        for place, repeats in zip(*np.unique(wanted, return_counts=True), strict=True):
            decoded = reader.frame_at(int(place))
            if decoded is None:
                lost.append(int(place))
                continue
            time_seconds = float(index.info.frame_times_seconds[place])
            pixels = convert(decoded, reader.pixel_aspect, time_seconds)
            damaged = bool(decoded.is_corrupt)
            del decoded
            for repeat in range(int(repeats)):
                own = pixels if repeat == repeats - 1 else pixels.copy()
                yield Frame(index=int(place), timestamp_seconds=time_seconds, pixels=own, is_damaged=damaged)
    finally:
        reader.close()
        for text in _damage(index, lost, reader):
            note(text)
    if len(lost) == len(np.unique(wanted)):
        raise VideoError(
            f"None of the {len(lost)} wanted frames of {str(index.info.source)!r} can be decoded; "
            "its data is damaged, copy or download it again."
        )


def _damage(index: FileIndex, lost: list[int], reader: FileReader) -> Iterator[str]:
    name = index.info.source
    if lost:
        first = float(index.info.frame_times_seconds[lost[0]])
        one = f"wanted frame of {name} could not be decoded and was left out: frame"
        many = f"wanted frames of {name} could not be decoded and were left out, the first is frame"
        yield f"{counted(len(lost), one, many)} {lost[0]} at {first:g} seconds."
    if reader.num_failed and not lost:
        one, many = f"packet of {name} is damaged and gives", f"packets of {name} are damaged and give"
        yield f"{counted(reader.num_failed, one, many)} no frame."
    if reader.num_patched:
        one, many = f"frame of {name} is damaged", f"frames of {name} are damaged"
        them = "it" if reader.num_patched == 1 else "them"
        yield f"{counted(reader.num_patched, one, many)}; the decoder patched {them} up."
    if reader.num_misplaced:
        one, many = (
            f"frame of {name} fits no packet's time and was",
            f"frames of {name} fit no packet's time and were",
        )
        yield f"{counted(reader.num_misplaced, one, many)} left out."


class FileReader:
    """One pass over a file, forwards: frames by index.

    Args:
        index: the file's index.

    Memory holds the decoder's own window and one frame, whatever the length. `pixel_aspect` is that of the frame given
    last.
    """

    def __init__(self, index: FileIndex) -> None:
        self._index = index
        self._container: Any = None
        self._may_seek = index.can_seek
        self._has_sought = False
        self._is_unclean = False
        self._position = -1
        self.pixel_aspect = index.info.pixel_aspect
        self._ahead: tuple[int, Any] | None = None
        self.num_failed = self.num_patched = self.num_misplaced = 0
        self._restart()

    def frame_at(self, place: int) -> Any | None:
        """Decode up to a frame, above every one asked for before; None when the file cannot give it."""
        if self._pays_to_seek(place):
            self._seek(place)
        found = self._advance(place)
        if self._has_sought and (found is None or self._is_unclean):
            # A keyframe that is none, or damage: what a decode from the start gives is the frame.
            self._may_seek = False
            self._restart()
            found = self._advance(place)
        return found

    def close(self) -> None:
        """Close the file; the reader cannot be used any more."""
        self._frames: Iterator[tuple[int, Any]] = iter(())
        self._ahead = None
        if self._container is not None:
            self._container.close()

    def _restart(self) -> None:
        self.close()
        source = str(self._index.info.source)
        self._container = open_container(self._index.data)
        self._stream = video_stream_of(self._container, source, self._index.info.video_stream)
        use_threads(self._stream)
        self._aspects = PixelAspects(self._stream)
        self._has_sought = self._is_unclean = False
        self._position = -1
        self.num_failed = self.num_patched = self.num_misplaced = 0
        self._frames = self._decode(Packets(self._container, self._stream, self._index.stamps))

    def _pays_to_seek(self, place: int) -> bool:
        return self._may_seek and self._keyframe_of(place) > self._position + SEEK_COST_FRAMES

    def _keyframe_of(self, place: int) -> int:
        rank = int(np.searchsorted(self._index.info.codec_keyframes, place, side="right")) - 1
        return int(self._index.info.codec_keyframes[rank]) if rank >= 0 else 0

    def _seek(self, place: int) -> None:
        """Go to the last keyframe at or before a frame, to the one before where the container overshoots."""
        wanted_tick = int(self._index.ticks[place])
        keyframe = place + 1
        for _ in range(KEYFRAMES_TRIED):
            keyframe = self._keyframe_of(keyframe - 1)
            landing, packets = self._land_at(int(self._index.ticks[keyframe]))
            if landing is not None and landing.pts is not None and landing.pts <= wanted_tick:
                self._has_sought, self._is_unclean = True, False
                self._ahead = None
                self._frames = self._decode(chain([landing], packets), floor_tick=landing.pts)
                return
            if keyframe == 0:
                break
        self._may_seek = False
        self._restart()

    def _land_at(self, tick: int) -> tuple[Any | None, Iterator[Any]]:
        """Seek, and return the first keyframe packet there with the packets behind it."""
        try:
            self._container.seek(tick, stream=self._stream, backward=True)
        except av.FFmpegError:
            return None, iter(())
        packets = iter(Packets(self._container, self._stream))
        codec = self._stream.codec_context.name
        return next((p for p in packets if p.is_keyframe and is_shown(p, codec)), None), packets

    def _advance(self, place: int) -> Any | None:
        while True:
            if self._ahead is None:
                self._ahead = next(self._frames, None)
            if self._ahead is None or self._ahead[0] > place:
                return None
            self._position, frame = self._ahead
            self._ahead = None
            if self._position == place:
                return frame

    def _decode(self, packets: Iterable[Any], floor_tick: int | None = None) -> Iterator[tuple[int, Any]]:
        """Give frames with their index; after a seek, those before the keyframe lack what they refer to."""
        last = -1
        for packet in packets:
            frames = _decoded(packet)
            # an error, a frame made up or a first picture that leans on others: the decoder could not start here
            self._is_unclean |= frames is None
            self.num_failed += frames is None
            for frame in frames or ():
                self._index.caps.check_pixels(frame.width, frame.height, repr(str(self._index.info.source)))
                self.pixel_aspect = self._aspects.of(frame)
                if floor_tick is not None and frame.pts is not None and frame.pts < floor_tick:
                    continue
                place = self._place_of(frame.pts, last)
                self._is_unclean |= bool(frame.is_corrupt) or (last < 0 and _leans_on_others(frame))
                if place is None:
                    self.num_misplaced += 1
                    continue
                last = place
                self.num_patched += bool(frame.is_corrupt)
                yield place, frame

    def _place_of(self, tick: int | None, last: int) -> int | None:
        """The index of the frame of a time stamp; of several with one stamp, the one after the last given."""
        ticks = self._index.ticks
        if self._index.lookup == "count":
            return last + 1 if last + 1 < len(ticks) else None
        if tick is None:
            return None
        place = max(int(np.searchsorted(ticks, tick)), last + 1)
        return place if place < len(ticks) and ticks[place] == tick else None


def _decoded(packet: Any) -> list[Any] | None:
    """The frames a packet completes; None when its data is damaged, which shows as missing frames."""
    try:
        frames: list[Any] = packet.decode()
    except (av.FFmpegError, ValueError):
        return None
    return frames


def _leans_on_others(frame: Any) -> bool:
    """True of a picture that was coded as a difference to others."""
    return frame.pict_type in (PictureType.P, PictureType.B, PictureType.S, PictureType.BI)
