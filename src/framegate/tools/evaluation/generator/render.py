"""Draws the frames of a script: every frame is a function of its time alone."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from framegate.tools.evaluation.generator.looks import background, font
from framegate.tools.evaluation.generator.script import GLIDE_SECONDS, NATIVE_FPS, Look, Script, Stop

Pixels = npt.NDArray[np.uint8]


class Renderer:
    """Draws one script.

    Args:
        script: what happens.
        clip: frames of a real clip for the background "clip", uint8 [F, h, w, 3] at 16 a second; played over and over.
    """

    def __init__(self, script: Script, clip: Pixels | None = None) -> None:
        self.script = script
        self._clip = clip
        self._pictures = lru_cache(maxsize=64)(self._picture)
        self._signs = lru_cache(maxsize=64)(lambda text: sign(text, script.look))

    def frame(self, seconds: float) -> Pixels:
        """Draw the frame at a time: uint8 [height_px, width_px, 3], RGB."""
        # half a millisecond: a time that is meant to be a frame's own must not fall before it
        seconds += 5e-4
        frame = self.behind(seconds)
        self._mark(frame, seconds)
        for shown in self.script.texts:
            if shown.start_seconds <= seconds < shown.end_seconds:
                paste(frame, self._signs(shown.text), shown.centre_px)
        return self._noisy(frame, seconds)

    def frames(self, times_seconds: Any) -> Pixels:
        """Draw frames at several times: uint8 [F, height_px, width_px, 3]."""
        return np.stack([self.frame(float(seconds)) for seconds in times_seconds])

    def behind(self, seconds: float) -> Pixels:
        """Draw what lies behind texts and marker at a time."""
        script, look = self.script, self.script.look
        if look.background == "clip":
            assert self._clip is not None, "the script asks for a real clip"
            return self._clip[int(seconds * NATIVE_FPS) % len(self._clip)].copy()
        index = sum(start <= seconds for start in look.background_starts) - 1
        picture = self._pictures(index)
        if look.pan_px_per_second == (0.0, 0.0):
            return picture.copy()
        x, y = (-speed * seconds for speed in look.pan_px_per_second)
        shift = np.array([[1, 0, x], [0, 1, y]], np.float32)
        size = (script.width_px, script.height_px)
        moved: Pixels = cv2.warpAffine(picture, shift, size, borderMode=cv2.BORDER_REFLECT_101)  # type: ignore[assignment]
        return moved

    def _picture(self, index: int) -> Pixels:
        script = self.script
        return background(script.look.background, script.seed * 97 + index, script.height_px, script.width_px)

    def _mark(self, frame: Pixels, seconds: float) -> None:
        stops = self.script.stops
        for number, stop in enumerate(stops):
            if stop.start_seconds <= seconds < stop.end_seconds:
                here, before = (self._centre_px(one) for one in (stop, stops[max(number - 1, 0)]))
                way = min((seconds - stop.start_seconds) / GLIDE_SECONDS, 1.0)
                x, y = (round(a + (b - a) * way) for a, b in zip(before, here, strict=True))
                draw_marker(frame, (x, y), self.script.look)

    def _centre_px(self, stop: Stop) -> tuple[int, int]:
        row, column = stop.place
        return int((column + 0.5) * self.script.width_px / 3), int((row + 0.5) * self.script.height_px / 3)

    def _noisy(self, frame: Pixels, seconds: float) -> Pixels:
        if not self.script.look.noise:
            return frame
        rng = np.random.default_rng((self.script.seed, int(seconds * 1000)))
        # one plane of noise for all three channels: grain is mostly brightness
        grain = rng.normal(0, self.script.look.noise, frame.shape[:2])
        return np.clip(frame + grain[..., None], 0, 255).astype(np.uint8)


def draw_marker(frame: Pixels, centre_px: tuple[int, int], look: Look) -> None:
    """Draw the marker into a frame, in place: a disc with a white rim."""
    radius = max(frame.shape[0] // 12, 5)
    cv2.circle(frame, centre_px, radius + 2, (255, 255, 255), -1, cv2.LINE_AA)
    cv2.circle(frame, centre_px, radius, look.marker_rgb, -1, cv2.LINE_AA)


def sign(text: str, look: Look) -> npt.NDArray[np.float32]:
    """Set a text: float32 [h, w, 4], RGB in levels of 255 and coverage in [0, 1]."""
    face = font(look.font, look.size_px)
    left, top, right, bottom = face.getbbox(text)
    pad = 5
    canvas = Image.new("RGBA", (int(right - left) + 2 * pad, int(bottom - top) + 2 * pad))
    contrary = (0, 0, 0) if sum(look.text_rgb) > 382 else (255, 255, 255)
    draw = ImageDraw.Draw(canvas)
    if look.style == "box":
        draw.rectangle((0, 0, *canvas.size), fill=(*contrary, 255))
    stroke = 2 if look.style == "outline" else 0
    draw.text(
        (pad - left, pad - top),
        text,
        font=face,
        fill=(*look.text_rgb, 255),
        stroke_width=stroke,
        stroke_fill=(*contrary, 255),
    )
    layer = _bent(np.asarray(canvas, np.float32), look)
    return np.concatenate([layer[..., :3], layer[..., 3:] / 255], axis=-1)


def _bent(layer: npt.NDArray[np.float32], look: Look) -> npt.NDArray[np.float32]:
    """Stretch and slant a sign about its centre."""
    if look.stretch == 1.0 and look.slant == 0.0:
        return layer
    height, width = layer.shape[:2]
    wide = int(width * look.stretch + height * abs(look.slant)) + 1
    shift = wide / 2 - look.stretch * width / 2 + look.slant * height / 2
    matrix = np.array([[look.stretch, -look.slant, shift], [0, 1, 0]], np.float32)
    # the colour of a fully transparent edge is that of what sets the text off, never black between
    return cv2.warpAffine(layer, matrix, (wide, height), borderMode=cv2.BORDER_CONSTANT)


def paste(frame: Pixels, layer: npt.NDArray[np.float32], centre_px: tuple[int, int]) -> None:
    """Lay a sign over a frame, in place; what falls outside is cut off."""
    height, width = layer.shape[:2]
    left, top = centre_px[0] - width // 2, centre_px[1] - height // 2
    cut = layer[max(-top, 0) : frame.shape[0] - top, max(-left, 0) : frame.shape[1] - left]
    top, left = max(top, 0), max(left, 0)
    under = frame[top : top + cut.shape[0], left : left + cut.shape[1]]
    under[:] = under + (cut[..., :3] - under) * cut[..., 3:]
