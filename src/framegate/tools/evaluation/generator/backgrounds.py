"""Backgrounds: pictures drawn from a seed, by family; a family belongs to one split alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

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
    """Draw a background.

    Args:
        family: as in BACKGROUNDS.
        seed: the same seed draws the same picture.
        height_px: its height.
        width_px: its width.

    Returns:
        uint8 [height_px, width_px, 3], RGB.

    Source: ours.
    """
    draw = next(draws[family] for draws in BACKGROUNDS.values() if family in draws)
    picture = draw(np.random.default_rng(seed), height_px, width_px)
    return np.clip(picture, 0, 255).astype(np.uint8)
