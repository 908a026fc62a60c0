"""Colours and type of all pictures, in one place."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from PIL import ImageFont

Colour = tuple[int, int, int]

KEPT: Colour = (22, 163, 148)
KEYFRAME: Colour = (245, 158, 11)
# by the side of the area that a token stands for, in cells
AREAS: dict[int, Colour] = {2: (96, 165, 250), 4: (192, 132, 252)}


@dataclass(frozen=True)
class Palette:
    """The colours around the picture, for a light or a dark page."""

    ground: Colour
    ink: Colour
    faint: Colour
    line: Colour
    kept: Colour = KEPT
    keyframe: Colour = KEYFRAME


LIGHT = Palette(ground=(255, 255, 255), ink=(28, 32, 38), faint=(98, 106, 117), line=(222, 226, 231))
DARK = Palette(
    ground=(23, 27, 33), ink=(232, 235, 239), faint=(150, 159, 170), line=(52, 59, 68), kept=(38, 198, 180)
)


@lru_cache(maxsize=16)
def font(size_px: int) -> Any:
    """Return the font that Pillow bundles, at a size in pixels; it needs no font on the machine."""
    return ImageFont.load_default(size=size_px)
