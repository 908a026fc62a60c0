"""A picture of a frame plan: when its frames stand, how large they are, which belong together, and their scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from framegate.tools.view.overlay import LIGHT, Palette
from framegate.tools.view.stills import (
    BOTTOM_PX,
    LEFT_PX,
    RIGHT_PX,
    SMOOTHING,
    TOP_PX,
    WIDTH_PX,
    Canvas,
    draw_seconds,
)
from framegate.types import FramePlan

_HEIGHT_PX = 200
_BAR_PX = 3.0
# the least height of a bar, as a share of the highest: a frame that matters little was chosen all the same
_LEAST = 0.08


def write_frames(
    frames: FramePlan, path: Path, *, window_seconds: tuple[float, float], palette: Palette = LIGHT
) -> None:
    """Draw a bar for every chosen frame, as high as its score (where nothing was scored, as its scale) as PNG.

    Args:
        frames: the plan.
        path: of the picture.
        window_seconds: start and end of what it was chosen from.
        palette: of the page.
    """
    image = Image.new("RGB", (SMOOTHING * WIDTH_PX, SMOOTHING * _HEIGHT_PX), palette.ground)
    canvas = Canvas(ImageDraw.Draw(image), palette, *window_seconds)
    _draw_words(canvas, frames)
    floor = _HEIGHT_PX - BOTTOM_PX
    canvas.line([(LEFT_PX, floor), (WIDTH_PX - RIGHT_PX, floor)], palette.line)
    # groups in turns of two colours: neighbours are told apart
    order = np.unique(frames.group, return_inverse=True)[1]
    colours = (palette.kept, palette.keyframe)
    for seconds, share, number in zip(frames.timestamps_seconds, _shares(frames), order, strict=True):
        x = canvas.x(float(seconds))
        top = floor - float(share) * (floor - TOP_PX)
        canvas.box(x - _BAR_PX / 2, top, x + _BAR_PX / 2, floor, colours[number % 2])
    draw_seconds(canvas, floor)
    image.resize((WIDTH_PX, _HEIGHT_PX), Image.Resampling.LANCZOS).save(path, optimize=True)


def _shares(frames: FramePlan) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    if frames.scores is None:
        return np.asarray(frames.scale, np.float64)
    low, high = float(frames.scores.min()), float(frames.scores.max())
    spread = (frames.scores - low) / (high - low) if high > low else np.ones(len(frames))
    return _LEAST + (1 - _LEAST) * spread


def _draw_words(canvas: Canvas, frames: FramePlan) -> None:
    what = "by their scores" if frames.scores is not None else "by their scale"
    canvas.text(LEFT_PX, 20, f"Chosen frames, {what}", anchor="lm", strong=True, size=16)
    groups, small = len(np.unique(frames.group)), float(frames.scale.min())
    words = f"{len(frames):,} frames"
    words += f" in {groups:,} groups" if groups > 1 else ""
    words += f", the smallest at {small:.2g} of the common size" if small < 1 else ""
    if frames.scores is not None:
        words += f", scores {frames.scores.min():.2g} to {frames.scores.max():.2g}"
    canvas.text(WIDTH_PX - RIGHT_PX, 20, words, anchor="rm")
