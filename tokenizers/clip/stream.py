"""The one iterator over frames, whether they come from a file, from memory or from a live source."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Protocol, Self
from weakref import WeakSet

from framegate.errors import FrameError, VideoError
from framegate.tokenizers.clip.file_index import FileIndex
from framegate.tokenizers.clip.file_source import read_frames
from framegate.tokenizers.clip.live_source import LiveSource
from framegate.tokenizers.clip.memory_source import MemoryFrames, read_memory
from framegate.tokenizers.clip.pixels import PixelFormat, Resample, Size, View
from framegate.tokenizers.clip.segments import SegmentSource
from framegate.tokenizers.clip.window import Window, window_frames, windowed
from framegate.types import Frame, FramePlan, Int64Array, VideoInfo

Note = Callable[[str], None]


class Source(Protocol):
    """What a stream needs of where its frames come from."""

    info: VideoInfo

    def read(self, wanted: Int64Array, view: View) -> Iterator[Frame]:
        """Give the wanted frames, int64 [F] not decreasing."""
        ...


class VideoStream:
    """Frames of a video, as often as wanted; a context manager that closes what it opened.

    Args:
        source: file or frames in memory, a live source, or segments.
        window_seconds: clip window [start, end).
        live_fps: most frames per second of a live source; None for every frame.
        warnings: list that the source adds its warnings to.

    Attributes: `info` what is known of the video, `warnings` what had to be assumed or was found damaged so
    far (complete when a pass has ended), `codec_keyframes` int64 [K] indices of the frames coded on their own
    (empty when there are none to know), `live_fps` as it was opened.
    """

    def __init__(
        self,
        source: Source | LiveSource | SegmentSource,
        *,
        window_seconds: Window,
        live_fps: float | None,
        warnings: list[str],
    ) -> None:
        self.info = source.info
        self.warnings = warnings
        self.codec_keyframes = source.info.codec_keyframes
        self._source = source
        self._once = source if isinstance(source, LiveSource | SegmentSource) else None
        self._window = window_seconds
        self.live_fps = live_fps
        self._passes: WeakSet[Generator[Frame, None, None]] = WeakSet()
        self._closed = False

    def frames(
        self,
        plan: FramePlan | None = None,
        *,
        size_px: Size | None = None,
        pixel_format: PixelFormat = "rgb24",
        resample: Resample = "area",
    ) -> Iterator[Frame]:
        """Give frames, one at a time, decoded, resized and turned as they are asked for.

        Args:
            plan: which frames, inside the clip window; None for every frame of it.
            size_px: height and width as shown, None for the video's own.
            pixel_format: "rgb24", or "gray" for luma 0.299 R + 0.587 G + 0.114 B, full range.
            resample: "area", or "bicubic", "bilinear" and "lanczos" as transformers resizes; see `pixels.View`.

        Returns:
            Iterator over Frame in order of presentation; a frame planned twice comes twice; each owns its
            pixels. Every call on a file or on frames in memory starts afresh. Frames that a damaged file
            cannot give are left out, with a warning in `warnings`.

        Raises:
            FrameError: a plan or a second pass on a live source, planned frames outside the video or the
                window, no plan in its place, a bad size.
            ConfigError: an unknown pixel format.
            VideoError: the stream is closed, or nothing can be decoded.
        """
        if self._closed:
            raise VideoError(
                f"The stream of {self.info.source or 'frames in memory'} is closed; open it again."
            )
        if not isinstance(plan, FramePlan | None):
            raise FrameError(
                f"plan is a {type(plan).__name__}; give a FramePlan, as framegate.plan_frames makes it."
            )
        view = View(size_px=size_px, pixel_format=pixel_format, resample=resample)
        if isinstance(self._source, LiveSource | SegmentSource):
            return self._kept(self._live(self._source, plan, view))
        return self._kept(self._source.read(self._wanted(plan), view))

    @property
    def in_memory(self) -> bool:
        """True when the frames were given, so that all of them are meant."""
        return isinstance(self._source, MemorySource)

    @property
    def dropped_frames(self) -> int:
        """Frames of a live source that nobody took in time (`drop_late`)."""
        return 0 if self._once is None else self._once.dropped_frames

    @property
    def reconnections(self) -> int:
        """How often a live source was opened again (`reconnect_seconds`)."""
        return 0 if self._once is None else self._once.reconnections

    def close(self) -> None:
        """Close everything now, also passes that were not read to their end."""
        self._closed = True
        for one_pass in list(self._passes):
            # a pass that another thread is reading cannot be closed from here; it ends at its next frame
            with suppress(ValueError):
                one_pass.close()
        if self._once is not None:
            self._once.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _live(
        self, source: LiveSource | SegmentSource, plan: FramePlan | None, view: View
    ) -> Iterator[Frame]:
        if plan is not None:
            raise FrameError(
                f"{self.info.source} is live, so frames cannot be planned; thin it out with live_fps."
            )
        if isinstance(source, SegmentSource):
            return source.read(view, live_fps=self.live_fps)
        return source.read(view, window_seconds=self._window, live_fps=self.live_fps)

    def _wanted(self, plan: FramePlan | None) -> Int64Array:
        inside = window_frames(self.info, self._window)
        if plan is None:
            return inside
        first, last = int(plan.indices[0]), int(plan.indices[-1])
        if first < inside[0] or last > inside[-1]:
            raise FrameError(
                f"The plan names frames {first} to {last}, but the stream holds frames {inside[0]} to "
                f"{inside[-1]}; plan with the same video and window."
            )
        return plan.indices

    def _kept(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        one_pass = self._until_closed(frames)
        self._passes.add(one_pass)
        return one_pass

    def _until_closed(self, frames: Iterator[Frame]) -> Generator[Frame, None, None]:
        try:
            for frame in frames:
                if self._closed:
                    return
                yield frame
        finally:
            close = getattr(frames, "close", None)
            if close is not None:
                close()


class FileSource:
    """Frames of a file, of which an index says where they are."""

    def __init__(self, index: FileIndex, note: Note, window_seconds: Window) -> None:
        index = replace(index, info=windowed(index.info, window_seconds))
        self.info = index.info
        self._index = index
        self._note = note

    def read(self, wanted: Int64Array, view: View) -> Iterator[Frame]:
        """Give the wanted frames, int64 [F] not decreasing."""
        return read_frames(self._index, wanted, view, self._note)


class MemorySource:
    """Frames in memory."""

    def __init__(self, frames: MemoryFrames, info: VideoInfo, window_seconds: Window) -> None:
        info = windowed(info, window_seconds)
        self.info = info
        self._frames = frames

    def read(self, wanted: Int64Array, view: View) -> Iterator[Frame]:
        """Give the wanted frames, int64 [F] not decreasing."""
        return read_memory(self._frames, self.info, wanted, view)
