"""A contact sheet: tubes spread over the video and its keyframes, each with its time and kept count."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from framegate.tools.view.overlay import dim_skipped
from framegate.tools.view.palette import DARK, font
from framegate.tools.view.tubes import TubeView
from framegate.types import UInt8Array

if TYPE_CHECKING:
    from framegate.tokenizers.gate.plan import GatePlan

TILE_WIDTH_PX, LABEL_PX, MARGIN_PX, COLUMNS = 384, 30, 12, 4


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One picture of the sheet: uint8 [h, w, 3] with the words below it."""

    pixels: UInt8Array = field(repr=False)
    time_label: str
    count_label: str
    is_keyframe: bool


def choose_tubes(plan: GatePlan, *, num_even: int = 12, max_keyframes: int = 12) -> list[int]:
    """Choose the tubes of a sheet: evenly spaced ones, and the keyframes up to a limit.

    Args:
        plan: the plan.
        num_even: evenly spaced tubes, at least 1.
        max_keyframes: keyframes, evenly picked when there are more.

    Returns:
        Tube numbers, increasing, each once.

    Source: ours.
    """
    num_tubes = len(plan.keep)
    even = np.linspace(0, num_tubes - 1, min(num_even, num_tubes)).round().astype(int)
    keyframes = np.flatnonzero(plan.keyframes)
    if len(keyframes) > max_keyframes:
        keyframes = keyframes[np.linspace(0, len(keyframes) - 1, max_keyframes).round().astype(int)]
    return sorted({*even.tolist(), *keyframes.tolist()})


def make_tile(tube: TubeView) -> Tile:
    """Make a tube's tile from its first frame."""
    scale = max(1, -(-TILE_WIDTH_PX // tube.source.shape[2]))
    shown = dim_skipped(tube.source[0], tube.scale, scale=scale, is_keyframe=tube.is_keyframe)
    height = round(shown.shape[0] * TILE_WIDTH_PX / shown.shape[1])
    picture = Image.fromarray(shown).resize((TILE_WIDTH_PX, height), Image.Resampling.LANCZOS)
    return Tile(
        pixels=np.asarray(picture),
        time_label=f"{tube.start_seconds:.1f} s",
        count_label=f"{tube.keep.sum()} of {tube.keep.size}",
        is_keyframe=tube.is_keyframe,
    )


def write_sheet(tiles: list[Tile], path: Path) -> None:
    """Lay tiles out in rows and write them as PNG.

    Args:
        tiles: at least one, all of one size.
        path: file to write.

    Source: ours.
    """
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
