"""Frames with times, written as an mp4 that plays at the speed they were taken."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av

from framegate.types import UInt8Array

TICKS_PER_SECOND = 12_800


class VideoWriter:
    """Writes H.264 (yuv420p) with a time stamp per frame; a context manager that closes the file.

    Args:
        path: file to write.
        crf: x264's constant quality, lower is better and larger.

    Source: ours.
    """

    def __init__(self, path: Path, *, crf: int = 22) -> None:
        self._container = av.open(str(path), "w", options={"movflags": "+faststart"})
        self._crf = crf
        self._stream: Any = None
        self._last_tick = -1

    def write(self, pixels: UInt8Array, seconds: float) -> None:
        """Add a frame.

        Args:
            pixels: uint8 [h, w, 3] RGB with even sides, the same size each time.
            seconds: when it appears; later than the one before.
        """
        if self._stream is None:
            self._stream = self._open_stream(pixels)
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        # frames closer than a tick would collide and be refused
        self._last_tick = max(self._last_tick + 1, round(seconds * TICKS_PER_SECOND))
        frame.pts, frame.time_base = self._last_tick, Fraction(1, TICKS_PER_SECOND)
        self._container.mux(self._stream.encode(frame))

    def _open_stream(self, pixels: UInt8Array) -> Any:
        # a group of 50 keeps scrubbing in the page quick
        options = {"crf": str(self._crf), "preset": "veryfast", "x264-params": "keyint=50"}
        stream: Any = self._container.add_stream("libx264", rate=30, options=options)
        stream.height, stream.width = pixels.shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS_PER_SECOND)
        return stream

    def close(self) -> None:
        """Write what the encoder still holds and close the file."""
        if self._stream is not None:
            self._container.mux(self._stream.encode())
        self._container.close()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
