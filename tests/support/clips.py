"""Tiny test clips, encoded on the spot with the encoders that PyAV brings along."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

MILLISECOND = Fraction(1, 1000)


def gradient_frames(count: int, *, height_px: int = 48, width_px: int = 64) -> np.ndarray[Any, Any]:
    """Smooth coloured frames, each unlike the others and unlike itself turned, uint8 [F, h, w, 3]."""
    y, x = np.mgrid[0:height_px, 0:width_px]
    frames = [
        np.stack(
            [
                40 + 150 * x / width_px,
                60 + 120 * y / height_px,
                np.full(y.shape, 30 + 37 * step % 180),
            ],
            axis=-1,
        )
        for step in range(count)
    ]
    for step, frame in enumerate(frames):
        row = 4 * (step % (height_px // 4))
        frame[row : row + 4, : width_px // 4] = 220
    return np.round(frames).astype(np.uint8)


def write_clip(
    path: Path,
    frames: Sequence[np.ndarray[Any, Any]] | np.ndarray[Any, Any],
    *,
    times_ms: Sequence[int] | None = None,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    keyframe_every: int = 10,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    rotation_degrees: int | None = None,
    format: str | None = None,
    color: dict[str, int] | None = None,
    sound_from_ms: int | None = None,
    pixel_aspect: Fraction | None = None,
) -> Path:
    """Encode frames with the given time stamps (100 ms apart if not given), return the path."""
    times = times_ms if times_ms is not None else [100 * place for place in range(len(frames))]
    with av.open(str(path), "w", format=format, options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width = frames[0].shape[:2] if len(frames) else (48, 64)
        stream.pix_fmt = pixel_format
        stream.time_base = stream.codec_context.time_base = MILLISECOND
        stream.codec_context.gop_size = keyframe_every
        # keyframes exactly where the test put them
        stream.codec_context.options = {"sc_threshold": "0", **(options or {})}
        for name, value in (color or {}).items():
            setattr(stream.codec_context, name, value)
        if pixel_aspect is not None:
            stream.sample_aspect_ratio = stream.codec_context.sample_aspect_ratio = pixel_aspect
        if rotation_degrees is not None:
            stream.set_display_rotation(rotation_degrees)
        sound = container.add_stream("aac", rate=8000) if sound_from_ms is not None else None
        container.start_encoding()
        if sound is not None:
            _write_silence(container, sound, sound_from_ms or 0)
        for array, time_ms in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format="rgb24")
            frame = frame.reformat(format=pixel_format, dst_color_range=(color or {}).get("color_range"))
            frame.pts, frame.time_base = time_ms, MILLISECOND
            container.mux(stream.encode(frame))
        if len(frames):
            container.mux(stream.encode())
    return path


def write_sound(path: Path) -> Path:
    """Write a file that holds sound only."""
    with av.open(str(path), "w") as container:
        _write_silence(container, container.add_stream("aac", rate=8000), 0)
    return path


def _write_silence(container: Any, stream: Any, start_ms: int) -> None:
    for step in range(8):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        frame.pts = start_ms * 8 + step * 1024
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def cut_in_half(path: Path) -> Path:
    """Write the first half of a file's bytes beside it, and one more: no transport packet ends just there."""
    data = path.read_bytes()
    half = path.with_name(f"half_{path.name}")
    half.write_bytes(data[: len(data) // 2 + 1])
    return half


def flip_bytes(path: Path, *, at: float = 0.5, count: int = 200) -> Path:
    """Write a copy whose bytes from a share of its length on are inverted."""
    data = bytearray(path.read_bytes())
    start = int(len(data) * at)
    data[start : start + count] = bytes(255 - byte for byte in data[start : start + count])
    flipped = path.with_name(f"flipped_{path.name}")
    flipped.write_bytes(data)
    return flipped


def write_streams(path, streams, *, still=None):
    """Write colours as video streams: (rgb, height_px, width_px, flags of disposition) each, one of a single frame."""
    with av.open(str(path), "w") as container:
        made = []
        for _, height_px, width_px, _ in streams:
            stream = container.add_stream("libx264", rate=10)
            stream.height, stream.width, stream.pix_fmt = height_px, width_px, "yuv420p"
            made.append(stream)
        for stream, (_, _, _, flags) in zip(made, streams, strict=True):
            stream.disposition = flags
        for place in range(4):
            for stream, (colour, height_px, width_px, _) in zip(made, streams, strict=True):
                if place > 0 and stream.index == still:
                    continue
                frame = av.VideoFrame.from_ndarray(
                    np.full((height_px, width_px, 3), colour, np.uint8), format="rgb24"
                )
                frame.pts, frame.time_base = 100 * place, MILLISECOND
                container.mux(stream.encode(frame))
        for stream in made:
            container.mux(stream.encode())
    return path
