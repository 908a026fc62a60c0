"""Files that follow one another, as a recorder writes them: one stream that is read once, its times going on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from os import PathLike
from typing import Any

import numpy as np

from framegate.errors import FrameError, VideoError
from framegate.tokenizers.clip.file_index import FileIndex
from framegate.tokenizers.clip.file_source import read_frames
from framegate.tokenizers.clip.live_source import Pace
from framegate.tokenizers.clip.pixels import View
from framegate.types import Frame

Segment = str | PathLike[str] | bytes


class SegmentSource:
    """Files read one after the other, each opened when the one before is done.

    Args:
        segments: paths or bytes, in order of time; an iterator may wait for the next one.
        index: looks at one file; it raises VideoError for one that cannot be read.
        note: called with each warning.

    Raises:
        VideoError: none of them can be read.
    """

    dropped_frames = reconnections = 0

    def __init__(
        self, segments: Iterable[Segment], index: Callable[[Any], FileIndex], note: Callable[[str], None]
    ) -> None:
        self._index, self._note, self._used, self._ended = index, note, False, False
        self._coming = self._readable(segments)
        first = next(self._coming, None)
        if first is None:
            raise VideoError(
                "There is nothing to read: none of the segments is a video; see the warnings above, or give paths."
            )
        self._first: FileIndex | None = first
        self.info = replace(
            first.info,
            frame_times_seconds=np.zeros(0),
            duration_seconds=0.0,
            is_live=True,
            codec_keyframes=np.zeros(0, np.int64),
        )

    def read(self, view: View, *, live_fps: float | None) -> Iterator[Frame]:
        """Give the frames of all segments, once.

        Args:
            view: size and format wanted.
            live_fps: most frames per second, None for every frame.

        Returns:
            Iterator over Frame, numbered through; each segment begins where the one before ended.

        Raises:
            FrameError: they were read already, or a bad rate.
        """
        if self._used:
            raise FrameError("These segments were read already; open them again for a second pass.")
        pace = Pace(live_fps)
        self._used = True
        return self._read(view, pace)

    def close(self) -> None:
        """End reading, at the next frame."""
        self._ended = True

    def _read(self, view: View, pace: Pace) -> Iterator[Frame]:
        start_seconds, number = 0.0, 0
        for index in self._all():
            times = index.info.frame_times_seconds
            # the first instant of a file may lie before its first frame
            begin_seconds = start_seconds - (float(times[0]) if len(times) else 0.0)
            due = [place for place, time in enumerate(times) if pace.takes(begin_seconds + float(time))]
            for frame in self._frames(index, due, view):
                if self._ended:
                    return
                seconds = begin_seconds + frame.timestamp_seconds
                yield replace(frame, index=number + frame.index, timestamp_seconds=seconds)
            start_seconds, number = begin_seconds + index.info.duration_seconds, number + len(times)

    def _frames(self, index: FileIndex, due: list[int], view: View) -> Iterator[Frame]:
        if not due:
            return
        try:
            yield from read_frames(index, np.array(due, np.int64), view, self._note)
        except VideoError as problem:
            self._note(f"a segment was left out, or its rest: {problem}")

    def _all(self) -> Iterator[FileIndex]:
        first, self._first = self._first, None
        if first is not None:
            yield first
        yield from self._coming

    def _readable(self, segments: Iterable[Segment]) -> Iterator[FileIndex]:
        for segment in segments:
            try:
                yield self._index(segment)
            except VideoError as problem:
                self._note(f"a segment was left out: {problem}")
