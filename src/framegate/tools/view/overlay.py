"""Frames with their skipped cells dimmed, written as a video; the colours and the type of all pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from framegate.tools.view.figures import TubeView
from framegate.types import UInt8Array

Colour = tuple[int, int, int]

KEPT: Colour = (22, 163, 148)
KEYFRAME: Colour = (245, 158, 11)
AGAIN: Colour = (110, 120, 245)
HEADER_PX, FOOTER_PX, GAP_PX, FRAME_PX = 34, 26, 6, 4
SMALLEST_WIDTH_PX = 400
# Rec. 601 luma
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
TICKS_PER_SECOND = 12_800


@dataclass(frozen=True)
class Palette:
    """The colours around the picture, for a light or a dark page."""

    ground: Colour
    ink: Colour
    faint: Colour
    line: Colour
    kept: Colour = KEPT
    keyframe: Colour = KEYFRAME
    again: Colour = AGAIN


LIGHT = Palette(ground=(255, 255, 255), ink=(28, 32, 38), faint=(98, 106, 117), line=(222, 226, 231))
DARK = Palette(
    ground=(23, 27, 33), ink=(232, 235, 239), faint=(150, 159, 170), line=(52, 59, 68), kept=(38, 198, 180)
)


@lru_cache(maxsize=16)
def font(size_px: int) -> Any:
    """Return the font that Pillow bundles, at a size in pixels; it needs no font on the machine."""
    return ImageFont.load_default(size=size_px)


def paint_tube(tube: TubeView) -> Iterator[UInt8Array]:
    """Paint the frames of a tube: uint8 [h, w, 3] RGB each, even sides.

    Header, overlay (beside it what the kept cells alone can show, when the tube has it), and a bar of the kept share.
    """
    scale = max(1, -(-SMALLEST_WIDTH_PX // tube.source.shape[2]))
    for index, source in enumerate(tube.source):
        panes = [dim_skipped(source, tube.keep, again=tube.again, scale=scale, is_keyframe=tube.is_keyframe)]
        if tube.rebuilt is not None:
            panes.append(enlarge(tube.rebuilt[index], scale))
        yield np.asarray(_compose(tube, panes, float(tube.frame_times_seconds[index])))


def dim_skipped(
    frame: UInt8Array,
    keep: npt.NDArray[np.bool_],
    *,
    again: npt.NDArray[np.bool_] | None = None,
    scale: int = 1,
    is_keyframe: bool = False,
) -> UInt8Array:
    """Show what becomes of a frame: encoded cells as they are and outlined, cells shown again blue, the rest dark.

    Args:
        frame: uint8 [h, w, 3] RGB.
        keep: cells that are encoded, bool [H, W]; they divide the frame evenly.
        again: skipped cells that are shown again, bool [H, W]; None for none.
        scale: whole number by which the picture is enlarged.
        is_keyframe: put the keyframe's frame around it.

    Returns:
        uint8 [h * scale, w * scale, 3] RGB.
    """
    pixels = enlarge(frame, scale)
    height, width = pixels.shape[:2]
    mask = _spread(keep, width, height)
    luma = pixels.astype(np.float32) @ LUMA  # [h, w]
    dimmed = 0.40 * (0.8 * luma[..., None] + 0.2 * pixels) + 14
    if again is not None and again.any():
        tinted = 0.55 * luma[..., None] + 0.35 * np.array(AGAIN, np.float32)
        dimmed = np.where(_spread(again, width, height)[..., None] > 0, tinted, dimmed)
    shown = np.where(mask[..., None] > 0, pixels, dimmed.astype(np.uint8))
    edge = cv2.morphologyEx(
        mask, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8), borderType=cv2.BORDER_REPLICATE
    )
    shown[(edge > 0) & (mask > 0)] = DARK.kept
    if is_keyframe:
        cv2.rectangle(shown, (0, 0), (width - 1, height - 1), DARK.keyframe, 2 * FRAME_PX)
    return shown


def _spread(cells: npt.NDArray[np.bool_], width: int, height: int) -> UInt8Array:
    """Spread cells [H, W] over the pixels of a frame: uint8 [h, w] of 0 and 1."""
    spread = cv2.resize(cells.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    return np.asarray(spread, dtype=np.uint8)


def enlarge(frame: UInt8Array, scale: int) -> UInt8Array:
    """Enlarge a frame [h, w, 3] by a whole number, without smoothing."""
    if scale == 1:
        return np.array(frame)
    return np.asarray(
        cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST), dtype=np.uint8
    )


def describe(tube: TubeView) -> str:
    """Word a tube's counts: "36 of 144 encoded (25%), 108 shown again"."""
    again = f", {tube.again.sum()} shown again" if tube.again.any() else ""
    return f"{tube.keep.sum()} of {tube.keep.size} encoded ({tube.keep.mean():.0%}){again}"


def _compose(tube: TubeView, panes: list[UInt8Array], seconds: float) -> Image.Image:
    height, width = panes[0].shape[:2]
    total = len(panes) * width + (len(panes) - 1) * GAP_PX
    size = (total + total % 2, HEADER_PX + height + FOOTER_PX + height % 2)
    image = Image.new("RGB", size, DARK.ground)
    for number, pane in enumerate(panes):
        image.paste(Image.fromarray(pane), (number * (width + GAP_PX), HEADER_PX))
    draw = ImageDraw.Draw(image)
    _write_header(draw, tube, seconds, total)
    _write_footer(draw, tube, HEADER_PX + height, (width, total))
    return image


def _write_header(draw: ImageDraw.ImageDraw, tube: TubeView, seconds: float, width: int) -> None:
    draw.text((10, HEADER_PX // 2), f"{seconds:.2f} s", font=font(19), fill=DARK.ink, anchor="lm")
    draw.text(
        (108, HEADER_PX // 2),
        f"tube {tube.index + 1}/{tube.count}",
        font=font(14),
        fill=DARK.faint,
        anchor="lm",
    )
    if tube.is_keyframe:
        _chip(draw, (212, HEADER_PX // 2), "keyframe", DARK.keyframe)
    draw.text((width - 10, HEADER_PX // 2), describe(tube), font=font(16), fill=DARK.ink, anchor="rm")


def _chip(draw: ImageDraw.ImageDraw, left_middle: tuple[int, int], text: str, colour: Colour) -> None:
    x, y = left_middle
    end = x + 16 + int(draw.textlength(text, font=font(13)))
    draw.rounded_rectangle((x, y - 10, end, y + 10), radius=10, fill=colour)
    draw.text((x + 8, y), text, font=font(13), fill=DARK.ground, anchor="lm")


def _write_footer(draw: ImageDraw.ImageDraw, tube: TubeView, top: int, widths: tuple[int, int]) -> None:
    pane_width, total = widths
    draw.rectangle((0, top, total, top + 3), fill=DARK.line)
    encoded, shown = float(tube.keep.mean()), float((tube.keep | tube.again).mean())
    draw.rectangle((0, top, round(total * shown), top + 3), fill=DARK.again)
    draw.rectangle((0, top, round(total * encoded), top + 3), fill=DARK.kept)
    moved = float(np.hypot(*tube.motion_px))
    again = ", shown again blue" if tube.again.any() else ""
    words = f"encoded clear{again}, left out dark{f', skipped moved {moved:.0f} px' if moved >= 0.5 else ''}"
    middle = top + 4 + (FOOTER_PX - 4) // 2
    draw.text((10, middle), words, font=font(13), fill=DARK.faint, anchor="lm")
    if tube.rebuilt is not None:
        place = (pane_width + GAP_PX + 10, middle)
        draw.text(place, "rebuilt from kept cells alone", font=font(13), fill=DARK.faint, anchor="lm")


class VideoWriter:
    """Writes H.264 (yuv420p) with a time stamp per frame; a context manager that closes the file.

    Args:
        path: file to write.
        crf: x264's constant quality, lower is better and larger.
    """

    def __init__(self, path: Path, *, crf: int = 22) -> None:
        self._container = av.open(str(path), "w", options={"movflags": "+faststart"})
        self._crf = crf
        self._stream: Any = None
        self._last_tick = -1

    def write(self, pixels: UInt8Array, seconds: float) -> None:
        """Add a frame, uint8 [h, w, 3] RGB with even sides, that appears at `seconds`, later than the one before."""
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
