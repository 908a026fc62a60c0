"""Fonts and backgrounds, by split: a family belongs to one split alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from framegate.errors import ConfigError

_MATPLOTLIB = "matplotlib/mpl-data/fonts/ttf"
# split -> name of a font -> its file under site-packages
FONTS: dict[str, dict[str, str]] = {
    "train": {
        "dejavu_sans": f"{_MATPLOTLIB}/DejaVuSans.ttf",
        "dejavu_sans_bold": f"{_MATPLOTLIB}/DejaVuSans-Bold.ttf",
        "dejavu_sans_mono": f"{_MATPLOTLIB}/DejaVuSansMono.ttf",
        "stix": f"{_MATPLOTLIB}/STIXGeneral.ttf",
        "stix_bold": f"{_MATPLOTLIB}/STIXGeneralBol.ttf",
        "computer_modern": f"{_MATPLOTLIB}/cmr10.ttf",
        "computer_modern_bold": f"{_MATPLOTLIB}/cmb10.ttf",
        "computer_modern_sans": f"{_MATPLOTLIB}/cmss10.ttf",
        "computer_modern_mono": f"{_MATPLOTLIB}/cmtt10.ttf",
        "roboto": "font_roboto/files/Roboto-Regular.ttf",
        "roboto_bold": "font_roboto/files/Roboto-Bold.ttf",
        "source_sans": "font_source_sans_pro/files/SourceSansPro-Regular.ttf",
        "source_sans_bold": "font_source_sans_pro/files/SourceSansPro-Bold.ttf",
        "source_serif": "font_source_serif_pro/files/SourceSerifPro-Regular.ttf",
        "source_serif_bold": "font_source_serif_pro/files/SourceSerifPro-Bold.ttf",
        "source_serif_light": "font_source_serif_pro/files/SourceSerifPro-Light.ttf",
        "source_serif_black": "font_source_serif_pro/files/SourceSerifPro-Black.ttf",
        "lato": "font_lato/files/Lato-Regular.ttf",
        "lato_bold": "font_lato/files/Lato-Bold.ttf",
        "lato_black": "font_lato/files/Lato-Black.ttf",
        "roboto_black": "font_roboto/files/Roboto-Black.ttf",
        "fredoka": "font_fredoka_one/files/FredokaOne-Regular.ttf",
    },
    "validation": {"hanken_grotesk": "font_hanken_grotesk/files/HankenGrotesk-Medium.otf"},
    "test": {
        "dejavu_serif": f"{_MATPLOTLIB}/DejaVuSerif.ttf",
        "manrope": "font_manrope/files/Manrope-SemiBold.ttf",
        "caladea": "font_caladea/files/Caladea-Bold.ttf",
    },
}


@lru_cache(maxsize=256)
def font(name: str, size_px: int) -> Any:
    """Load a font of FONTS by Pillow; ConfigError where the package that carries it is not installed."""
    from PIL import ImageFont

    path = next(files[name] for files in FONTS.values() if name in files)
    package, _, inside = path.partition("/")
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ConfigError(
            f"The font {name} needs the package {package.replace('_', '-')}: pip install 'framegate[eval]'."
        )
    return ImageFont.truetype(
        str(Path(spec.origin).parent / inside), size_px, layout_engine=ImageFont.Layout.BASIC
    )


@lru_cache(maxsize=4096)
def advance_px(name: str, size_px: int, letter: str) -> float:
    """How far a letter moves the pen, in pixels."""
    return float(font(name, size_px).getlength(letter))


Pixels = npt.NDArray[np.uint8]
_Draw = Callable[[np.random.Generator, int, int], Any]


def _colours(rng: np.random.Generator, count: int) -> Any:
    """Colours around one brightness: what lies behind a text has to leave it legible."""
    brightness = rng.uniform(30, 225)
    return np.clip(brightness + rng.uniform(-45, 45, (count, 3)), 0, 255)


def _flat(rng: np.random.Generator, height_px: int, width_px: int) -> Any:
    return np.broadcast_to(_colours(rng, 1)[0], (height_px, width_px, 3))


def _gradient(rng: np.random.Generator, height_px: int, width_px: int) -> Any:
    first, second = _colours(rng, 2)
    y, x = np.mgrid[0:height_px, 0:width_px]
    angle = rng.uniform(0, 2 * np.pi)
    along = x / width_px * np.cos(angle) + y / height_px * np.sin(angle)
    along = (along - along.min()) / max(float(np.ptp(along)), 1e-6)
    return first + (second - first) * along[..., None]


def _noise(rng: np.random.Generator, height_px: int, width_px: int) -> Any:
    first, second = _colours(rng, 2)
    coarse = rng.random((int(rng.integers(3, 12)), int(rng.integers(3, 12)))).astype(np.float32)
    return (
        first
        + (second - first)
        * cv2.resize(coarse, (width_px, height_px), interpolation=cv2.INTER_CUBIC)[..., None]
    )


def _stripes(rng: np.random.Generator, height_px: int, width_px: int) -> Any:
    first, second = _colours(rng, 2)
    y, x = np.mgrid[0:height_px, 0:width_px]
    angle, period_px = rng.uniform(0, np.pi), rng.uniform(10, 60)
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period_px) > 0
    return np.where(wave[..., None], first, second)


def _checks(rng: np.random.Generator, height_px: int, width_px: int) -> Any:
    first, second = _colours(rng, 2)
    side_px = int(rng.integers(12, 48))
    y, x = np.mgrid[0:height_px, 0:width_px]
    return np.where((((x // side_px) + (y // side_px)) % 2 == 0)[..., None], first, second)


def _blobs(rng: np.random.Generator, height_px: int, width_px: int) -> Any:
    colours = _colours(rng, 9)
    picture = np.empty((height_px, width_px, 3), np.float32)
    picture[:] = colours[0]
    for colour in colours[1:]:
        centre = int(rng.integers(0, width_px)), int(rng.integers(0, height_px))
        axes = int(rng.integers(6, 50)), int(rng.integers(6, 50))
        cv2.ellipse(
            picture, centre, axes, float(rng.uniform(0, 180)), 0, 360, colour.tolist(), -1, cv2.LINE_AA
        )
    return picture


def _bricks(rng: np.random.Generator, height_px: int, width_px: int) -> Any:
    first, second = _colours(rng, 2)
    tall_px, wide_px = int(rng.integers(12, 24)), int(rng.integers(24, 60))
    y, x = np.mgrid[0:height_px, 0:width_px]
    shifted = x + (y // tall_px % 2) * (wide_px // 2)
    return np.where(((y % tall_px < 2) | (shifted % wide_px < 2))[..., None], first, second)


def _rings(rng: np.random.Generator, height_px: int, width_px: int) -> Any:
    first, second = _colours(rng, 2)
    y, x = np.mgrid[0:height_px, 0:width_px]
    distance = np.hypot(x - rng.uniform(0, width_px), y - rng.uniform(0, height_px))
    return (
        first + (second - first) * (0.5 + 0.5 * np.sin(distance * 2 * np.pi / rng.uniform(14, 50)))[..., None]
    )


def _mosaic(rng: np.random.Generator, height_px: int, width_px: int) -> Any:
    colours = _colours(rng, 14)
    seeds = rng.uniform(0, 1, (14, 2)) * (height_px, width_px)
    y, x = np.mgrid[0:height_px, 0:width_px]
    nearest = ((y[..., None] - seeds[:, 0]) ** 2 + (x[..., None] - seeds[:, 1]) ** 2).argmin(-1)
    return colours[nearest]


BACKGROUNDS: dict[str, dict[str, _Draw]] = {
    "train": {
        "flat": _flat,
        "gradient": _gradient,
        "noise": _noise,
        "stripes": _stripes,
        "checks": _checks,
        "blobs": _blobs,
    },
    "validation": {"bricks": _bricks},
    "test": {"rings": _rings, "mosaic": _mosaic},
}


def background(family: str, seed: int, height_px: int, width_px: int) -> Pixels:
    """Draw a background of a family of BACKGROUNDS from a seed: uint8 [height_px, width_px, 3], RGB."""
    draw = next(draws[family] for draws in BACKGROUNDS.values() if family in draws)
    picture = draw(np.random.default_rng(seed), height_px, width_px)
    return np.clip(picture, 0, 255).astype(np.uint8)
