"""Two pictures of a whole plan: a contact sheet of chosen tubes, and a timeline of tokens and motion."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from framegate.tools.view.figures import (
    PlanFigures,
    TubeView,
    plan_figures,
    shown_again,
    skipped_motion_px,
    tube_ends_seconds,
)
from framegate.tools.view.overlay import DARK, LIGHT, Palette, dim_skipped, font
from framegate.types import Float64Array, UInt8Array

if TYPE_CHECKING:
    from framegate.config import FrontEndConfig
    from framegate.tokenizers.gate.plan import GatePlan


# of the sheet
TILE_WIDTH_PX, LABEL_PX, MARGIN_PX, COLUMNS = 384, 30, 12, 4
# of the timeline
WIDTH_PX, HEIGHT_PX, MOTION_HEIGHT_PX = 1280, 300, 84
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 64, 96, 44, 40
SMOOTHING = 2
SMALLEST_MOTION_PX = 0.5
# of text on the timeline
LINE_PX = 16
NICE_STEPS = (1.0, 2.0, 2.5, 5.0)


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One picture of the sheet: uint8 [h, w, 3] with the words below it."""

    pixels: UInt8Array = field(repr=False)
    time_label: str
    count_label: str
    is_keyframe: bool


def choose_tubes(plan: GatePlan, *, num_even: int = 12, max_keyframes: int = 12) -> list[int]:
    """Choose the tubes of a sheet: evenly spaced ones, and the keyframes, evenly picked where there are too many."""
    num_tubes = len(plan.keep)
    even = np.linspace(0, num_tubes - 1, min(num_even, num_tubes)).round().astype(int)
    keyframes = np.flatnonzero(plan.keyframes)
    if len(keyframes) > max_keyframes:
        keyframes = keyframes[np.linspace(0, len(keyframes) - 1, max_keyframes).round().astype(int)]
    return sorted({*even.tolist(), *keyframes.tolist()})


def make_tile(tube: TubeView) -> Tile:
    """Make a tube's tile from its first frame."""
    scale = max(1, -(-TILE_WIDTH_PX // tube.source.shape[2]))
    shown = dim_skipped(
        tube.source[0], tube.keep, again=tube.again, scale=scale, is_keyframe=tube.is_keyframe
    )
    height = round(shown.shape[0] * TILE_WIDTH_PX / shown.shape[1])
    picture = Image.fromarray(shown).resize((TILE_WIDTH_PX, height), Image.Resampling.LANCZOS)
    return Tile(
        pixels=np.asarray(picture),
        time_label=f"{tube.start_seconds:.1f} s",
        count_label=f"{tube.keep.sum()} of {tube.keep.size}",
        is_keyframe=tube.is_keyframe,
    )


def write_sheet(tiles: list[Tile], path: Path) -> None:
    """Write tiles as a sheet, PNG."""
    columns = min(COLUMNS, len(tiles))
    height = tiles[0].pixels.shape[0] + LABEL_PX
    step_x, step_y = TILE_WIDTH_PX + MARGIN_PX, height + MARGIN_PX
    size = (MARGIN_PX + columns * step_x, MARGIN_PX + math.ceil(len(tiles) / columns) * step_y)
    sheet = Image.new("RGB", size, DARK.ground)
    for number, tile in enumerate(tiles):
        left_top = (MARGIN_PX + number % columns * step_x, MARGIN_PX + number // columns * step_y)
        _paste(sheet, tile, left_top)
    sheet.save(path, optimize=True)


def _paste(sheet: Image.Image, tile: Tile, left_top: tuple[int, int]) -> None:
    left, top = left_top
    sheet.paste(Image.fromarray(tile.pixels), left_top)
    draw = ImageDraw.Draw(sheet)
    middle = top + tile.pixels.shape[0] + LABEL_PX // 2
    draw.text((left + 2, middle), tile.time_label, font=font(18), fill=DARK.ink, anchor="lm")
    if tile.is_keyframe:
        draw.text(
            (left + TILE_WIDTH_PX // 2, middle), "keyframe", font=font(16), fill=DARK.keyframe, anchor="mm"
        )
    right = left + TILE_WIDTH_PX - 2
    draw.text((right, middle), tile.count_label, font=font(18), fill=DARK.faint, anchor="rm")


@dataclass(frozen=True)
class Canvas:
    """Draws in output pixels on a picture that is larger by SMOOTHING, then shrunk."""

    draw: ImageDraw.ImageDraw
    palette: Palette
    start_seconds: float
    end_seconds: float

    def x(self, seconds: float) -> float:
        """Where a time stands."""
        share = (seconds - self.start_seconds) / (self.end_seconds - self.start_seconds)
        return LEFT_PX + share * (WIDTH_PX - LEFT_PX - RIGHT_PX)

    def box(self, left: float, top: float, right: float, bottom: float, colour: tuple[int, int, int]) -> None:
        """Fill a box, at least half a pixel wide."""
        corners = [SMOOTHING * value for value in (left, top, max(right, left + 0.5), max(bottom, top + 0.5))]
        self.draw.rectangle(corners, fill=colour)

    def line(
        self, points: list[tuple[float, float]], colour: tuple[int, int, int], width: float = 1.0
    ) -> None:
        """Draw a line through points."""
        scaled = [(SMOOTHING * x, SMOOTHING * y) for x, y in points]
        self.draw.line(scaled, fill=colour, width=round(SMOOTHING * width), joint="curve")

    def text(
        self, x: float, y: float, words: str, *, anchor: str, strong: bool = False, size: int = 14
    ) -> None:
        """Write words at a point."""
        colour = self.palette.ink if strong else self.palette.faint
        self.draw.text(
            (SMOOTHING * x, SMOOTHING * y), words, font=font(SMOOTHING * size), fill=colour, anchor=anchor
        )


def plot_shares() -> tuple[float, float]:
    """Say where the plot begins and ends, as shares of the picture's width (for a page's playhead)."""
    return LEFT_PX / WIDTH_PX, 1 - RIGHT_PX / WIDTH_PX


def write_timeline(
    plan: GatePlan, path: Path, *, palette: Palette = LIGHT, config: FrontEndConfig | None = None
) -> None:
    """Draw the timeline of a plan as PNG; the configuration says which skipped cells are shown again."""
    motion = np.hypot(*skipped_motion_px(plan).T)  # [T]
    has_motion = bool(motion.max() >= SMALLEST_MOTION_PX)
    height = HEIGHT_PX + (MOTION_HEIGHT_PX if has_motion else 0)
    image = Image.new("RGB", (SMOOTHING * WIDTH_PX, SMOOTHING * height), palette.ground)
    starts = np.asarray(plan.timestamps_seconds)
    ends = tube_ends_seconds(plan)
    canvas = Canvas(ImageDraw.Draw(image), palette, float(starts[0]), float(ends[-1]))
    again = shown_again(plan, config).sum((1, 2))  # [T]
    figures = plan_figures(plan, config)
    _draw_legend(canvas, figures, shows_again=bool(again.any()))
    _draw_tokens(canvas, plan, (starts, ends), again)
    means = {"mean": figures.kept_tokens / figures.num_tubes}
    if again.any():
        means = {"tower": means["mean"], "prompt": figures.prompt_tokens / figures.num_tubes}
    _draw_means(canvas, means, plan.keep[0].size)
    draw_seconds(canvas, height - BOTTOM_PX)
    if has_motion:
        _draw_motion(canvas, motion, (starts, ends))
    image.resize((WIDTH_PX, height), Image.Resampling.LANCZOS).save(path, optimize=True)


def _draw_legend(canvas: Canvas, figures: PlanFigures, *, shows_again: bool) -> None:
    canvas.text(LEFT_PX, 20, "Tokens per tube", anchor="lm", strong=True, size=16)
    x = 220.0
    parts = [("encoded", canvas.palette.kept), ("keyframe", canvas.palette.keyframe)]
    parts += [("shown again", canvas.palette.again)] if shows_again else []
    for words, colour in parts:
        canvas.box(x, 14, x + 12, 26, colour)
        canvas.text(x + 18, 20, words, anchor="lm")
        x += 100
    words = f"of {figures.dense_tokens:,}: tower {figures.kept_tokens:,} ({figures.tower_ratio:.1%}), "
    words += f"prompt {figures.prompt_tokens:,} ({figures.keep_ratio:.1%})"
    canvas.text(WIDTH_PX - RIGHT_PX, 20, words, anchor="rm", strong=True)


def _draw_tokens(
    canvas: Canvas, plan: GatePlan, spans: tuple[Float64Array, Float64Array], again: npt.NDArray[np.int64]
) -> None:
    kept = plan.keep.sum((1, 2))  # [T]
    dense = plan.keep[0].size
    floor, ceiling = HEIGHT_PX - BOTTOM_PX, TOP_PX
    right = WIDTH_PX - RIGHT_PX
    for value in (0, dense // 4, dense // 2, dense * 3 // 4, dense):
        y = floor - value / dense * (floor - ceiling)
        canvas.line([(LEFT_PX, y), (right, y)], canvas.palette.line)
        canvas.text(LEFT_PX - 8, y, f"{value}", anchor="rm")
    for start, end, count, more, is_keyframe in zip(*spans, kept, again, plan.keyframes, strict=True):
        colour = canvas.palette.keyframe if is_keyframe else canvas.palette.kept
        left, edge = canvas.x(start), canvas.x(end)
        gap = 1 if edge - left > 4 else 0
        # a keyframe of a long video would be thinner than a pixel
        edge = max(edge - gap, left + 2) if is_keyframe else edge - gap
        top = floor - count / dense * (floor - ceiling)
        if more:
            canvas.box(left, top - more / dense * (floor - ceiling), edge, top, canvas.palette.again)
        if count:
            canvas.box(left, top, edge, floor, colour)
    canvas.text(right + 8, ceiling, "dense", anchor="lm")


def _draw_means(canvas: Canvas, means: dict[str, float], dense: int) -> None:
    """Draw a line for each mean number of tokens a tube, with its name."""
    right, floor = WIDTH_PX - RIGHT_PX, HEIGHT_PX - BOTTOM_PX
    last = float("inf")
    for name, mean in sorted(means.items(), key=lambda pair: pair[1]):
        y = floor - mean / dense * (floor - TOP_PX)
        canvas.line([(LEFT_PX, y), (right, y)], canvas.palette.ink, 1)
        # names of lines that lie near each other stand above each other
        last = min(y, last - LINE_PX)
        canvas.text(right + 8, last, f"{name} {mean:.1f}", anchor="lm", strong=True)


def _draw_motion(canvas: Canvas, motion: Float64Array, spans: tuple[Float64Array, Float64Array]) -> None:
    floor = HEIGHT_PX + MOTION_HEIGHT_PX - BOTTOM_PX
    ceiling = floor - MOTION_HEIGHT_PX + 30
    right = WIDTH_PX - RIGHT_PX
    for y in (ceiling, floor):
        canvas.line([(LEFT_PX, y), (right, y)], canvas.palette.line)
    canvas.text(
        LEFT_PX, ceiling - 12, "Distance of skipped cells from their anchors, px (median)", anchor="lm"
    )
    canvas.text(LEFT_PX - 8, ceiling, f"{motion.max():.0f}", anchor="rm")
    canvas.text(LEFT_PX - 8, floor, "0", anchor="rm")
    points = []
    for start, end, value in zip(*spans, motion, strict=True):
        y = floor - value / motion.max() * (floor - ceiling)
        points += [(canvas.x(start), y), (canvas.x(end), y)]
    canvas.line(points, canvas.palette.kept, 1.5)


def draw_seconds(canvas: Canvas, floor: float) -> None:
    """Draw the axis of seconds below a floor."""
    step = nice_step(canvas.end_seconds - canvas.start_seconds, most=12)
    value = np.ceil(canvas.start_seconds / step) * step
    while value <= canvas.end_seconds + 1e-9:
        canvas.line([(canvas.x(value), floor), (canvas.x(value), floor + 5)], canvas.palette.faint)
        canvas.text(canvas.x(value), floor + 17, f"{value:g}", anchor="mm")
        value += step
    canvas.text(WIDTH_PX - RIGHT_PX + 24, floor + 17, "seconds", anchor="lm")


def nice_step(span: float, *, most: int) -> float:
    """Find the distance of axis marks: the smallest of 1, 2, 2.5, 5 times a power of ten with few marks."""
    power = 10.0 ** np.floor(np.log10(span / most))
    return float(next(step * power for step in (*NICE_STEPS, 10.0) if span / (step * power) <= most))
