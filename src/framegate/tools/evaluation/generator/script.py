"""What happens in a generated video, as data: which text stands when and where, what moves, what lies behind."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from framegate.errors import ConfigError, nearest
from framegate.tools.evaluation.generator.looks import BACKGROUNDS, FONTS

# twenty letters and digits of which no two look alike
ALPHABET = "0123456789ACEFHKMPTX"
CODE_LENGTH = 3
LARGEST_FONT_PX = 35
NATIVE_FPS = 16
# of what a seed draws; rises when videos or questions of the same seed become others
GENERATOR_VERSION = 3
# width and height of frames, by the cells of 32 px that a tube of them has; letters are as large in all of them
SIZES_PX = {"4x6": (192, 128), "6x10": (320, 192), "8x14": (448, 256)}
# how long the marker is on its way from one place to the next
GLIDE_SECONDS = 0.2
GRID_NAMES = (
    ("top left", "top", "top right"),
    ("left", "centre", "right"),
    ("bottom left", "bottom", "bottom right"),
)
# how long a text stands, in seconds, shortest and longest
PACES = {
    "lasting": (6.0, 20.0),
    "slow": (1.5, 3.0),
    "medium": (0.75, 1.5),
    "fast": (0.3, 0.75),
    "rapid": (0.125, 0.3),
}
# drawn unless a pace is asked for, and how often; at four frames a second a rapid text may fall between two of them
DRAWN_PACES = {"slow": 0.4, "medium": 0.4, "fast": 0.2}
SPLITS = ("train", "validation", "test")
# how often a text is one that stood before, where one did
COMES_BACK = 0.15


@dataclass(frozen=True)
class Shown:
    """A text and when it stands; its centre is in pixels of the frame."""

    text: str
    start_seconds: float
    end_seconds: float
    centre_px: tuple[int, int]


@dataclass(frozen=True)
class Stop:
    """A place of the marker on the 3 x 3 grid (row, column); it comes gliding in the first GLIDE_SECONDS."""

    place: tuple[int, int]
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True, kw_only=True)
class Look:
    """How a video looks.

    Args:
        font: as in FONTS.
        size_px: of the font.
        style: what sets the text off: "box" or "outline".
        text_rgb: colour of the text; what sets it off has the contrary one.
        background: family as in BACKGROUNDS, or "clip" for a real one.
        background_starts: seconds at which the background changes whole, the first 0.
        pan_px_per_second: of the background, x and y.
        marker_rgb: colour of the marker.
        noise: standard deviation of the sensor's noise, in levels of 255.
        stretch: of the letters' width; 1 outside training.
        slant: how far letters lean, pixels to the right per pixel upwards; 0 outside training.
    """

    font: str
    size_px: int
    style: str
    text_rgb: tuple[int, int, int]
    background: str
    background_starts: tuple[float, ...]
    pan_px_per_second: tuple[float, float]
    marker_rgb: tuple[int, int, int]
    noise: float
    stretch: float = 1.0
    slant: float = 0.0

    @property
    def is_still(self) -> bool:
        """True where the background changes by cuts alone."""
        return self.background != "clip" and self.pan_px_per_second == (0.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class Script:
    """A whole video as data; `render` draws it, `questions` asks about it.

    Args:
        seed: of everything in it.
        split: "train", "validation" or "test".
        pace: as in PACES.
        width_px, height_px: of a frame.
        duration_seconds: its length.
        texts: in order of time, no two at once; a text may come back after another one.
        stops: the marker's, in order of time; empty for no marker.
        look: see Look.
    """

    seed: int
    split: str
    pace: str
    width_px: int
    height_px: int
    duration_seconds: float
    texts: tuple[Shown, ...]
    stops: tuple[Stop, ...]
    look: Look


def write_script(
    seed: int,
    *,
    split: str = "train",
    pace: str | None = None,
    duration_seconds: float = 8.0,
    size_px: tuple[int, int] = (192, 128),
    backgrounds: tuple[str, ...] | None = None,
) -> Script:
    """Draw a video's script from a seed.

    Args:
        seed: the same seed and settings give the same script.
        split: whose fonts and backgrounds are taken.
        pace: of PACES, how fast texts change; None draws one of DRAWN_PACES.
        duration_seconds: length of the video.
        size_px: width and height of a frame.
        backgrounds: families to draw from; None for all of the split.

    Returns:
        The script.

    Raises:
        ConfigError: an unknown split or pace.
    """
    if split not in SPLITS:
        raise ConfigError(f"Unknown split {split!r}. {nearest(split, SPLITS)}")
    if pace is not None and pace not in PACES:
        raise ConfigError(f"Unknown pace {pace!r}. {nearest(pace, PACES)}")
    rng = np.random.default_rng((SPLITS.index(split), seed))
    # drawn in any case, so that everything else is the same at every pace
    drawn = str(rng.choice(list(DRAWN_PACES), p=list(DRAWN_PACES.values())))
    pace = pace or drawn
    row = int(rng.integers(3))
    spans = _spans(rng, PACES[pace], duration_seconds)
    look = _look(rng, split, [start for start, _ in spans], size_px, backgrounds or tuple(BACKGROUNDS[split]))
    return Script(
        seed=seed,
        split=split,
        pace=pace,
        width_px=size_px[0],
        height_px=size_px[1],
        duration_seconds=duration_seconds,
        texts=_texts(rng, spans, row, look.size_px, size_px),
        stops=_stops(rng, row, duration_seconds) if rng.random() < 0.6 else (),
        look=look,
    )


def _on_frame(seconds: float) -> float:
    return round(seconds * NATIVE_FPS) / NATIVE_FPS


def _spans(
    rng: np.random.Generator, lasting: tuple[float, float], duration_seconds: float
) -> list[tuple[float, float]]:
    """When texts stand: one after the other, in every third video with pauses between."""
    pauses = rng.random() < 0.33 and duration_seconds >= 3
    spans: list[tuple[float, float]] = []
    start = _on_frame(rng.uniform(0, 0.5)) if pauses else 0.0
    while not spans or start < duration_seconds - lasting[0] / 2:
        end = min(_on_frame(start + rng.uniform(*lasting)), duration_seconds)
        spans.append((start, end))
        start = _on_frame(end + rng.uniform(0.25, 1.0)) if pauses and rng.random() < 0.6 else end
    return spans


def _texts(
    rng: np.random.Generator,
    spans: list[tuple[float, float]],
    row: int,
    font_px: int,
    size_px: tuple[int, int],
) -> tuple[Shown, ...]:
    """Codes in one row of the grid: at one place, or each at its own."""
    width_px, height_px = size_px
    half_px = min(font_px * 1.1 + 3, width_px / 2 - 1)
    third_px = height_px / 3
    room_px = max(third_px / 2 - font_px * 0.6, 0.0)
    fixed = rng.random() < 0.6
    texts: list[Shown] = []
    used: set[str] = set()
    for start, end in spans:
        if not texts or not fixed:
            x = rng.uniform(half_px, width_px - half_px)
            y = third_px * (row + 0.5) + rng.uniform(-room_px, room_px)
        earlier = sorted({shown.text for shown in texts[:-1]} - {shown.text for shown in texts[-1:]})
        if earlier and rng.random() < COMES_BACK:
            text = earlier[int(rng.integers(len(earlier)))]
        else:
            text = fresh_code(rng, used)
        texts.append(Shown(text, start, end, (int(x), int(y))))
    return tuple(texts)


def fresh_code(rng: np.random.Generator, used: set[str]) -> str:
    """Draw a code that is not used yet, and note it as used."""
    while (text := "".join(rng.choice(list(ALPHABET), CODE_LENGTH))) in used:
        pass
    used.add(text)
    return text


def _stops(rng: np.random.Generator, text_row: int, duration_seconds: float) -> tuple[Stop, ...]:
    """Places for the marker outside the row of the texts."""
    places = [(row, column) for row in range(3) if row != text_row for column in range(3)]
    stops: list[Stop] = []
    start = 0.0
    while start < duration_seconds:
        end = min(_on_frame(start + rng.uniform(0.8, 2.5)), duration_seconds)
        free = [place for place in places if not stops or place != stops[-1].place]
        stops.append(Stop(free[int(rng.integers(len(free)))], start, end))
        start = end
    return tuple(stops)


def _look(
    rng: np.random.Generator,
    split: str,
    text_starts: list[float],
    size_px: tuple[int, int],
    backgrounds: tuple[str, ...],
) -> Look:
    bright = bool(rng.random() < 0.5)
    ink = rng.uniform(200, 255, 3) if bright else rng.uniform(0, 50, 3)
    family = str(rng.choice(backgrounds))
    cuts = rng.random()
    # a quarter are slides, whose background changes with every text; a quarter cut once
    starts = text_starts if cuts < 0.25 else [float(rng.choice(text_starts))] if cuts < 0.5 else []
    moving = rng.random() < 0.3
    look = Look(
        font=str(rng.choice(list(FONTS[split]))),
        size_px=int(rng.integers(24, LARGEST_FONT_PX + 1))
        if size_px[1] >= 128
        else int(rng.integers(24, 27)),
        style=str(rng.choice(("box", "outline"))),
        text_rgb=_rgb(ink),
        background=family,
        background_starts=tuple(sorted({0.0, *starts})),
        pan_px_per_second=tuple(rng.uniform(-24, 24, 2)) if moving else (0.0, 0.0),
        marker_rgb=_rgb(rng.permutation([rng.uniform(190, 255), rng.uniform(0, 60), rng.uniform(0, 255)])),
        noise=float(rng.uniform(0, 3)) if rng.random() < 0.5 else 0.0,
    )
    # more letter shapes than there are fonts, for training alone
    bent = split == "train" and rng.random() < 0.6
    return replace(look, stretch=rng.uniform(0.8, 1.25), slant=rng.uniform(-0.15, 0.3)) if bent else look


def _rgb(values: Any) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in values)
    return red, green, blue
