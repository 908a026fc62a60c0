"""Renders the clip that ships with framegate, and its ground truth.

    python examples/render_slides.py --out DIR

25 seconds, 640 x 360 at 10 frames a second: slides whose bullets appear one by one, a mouse cursor, a
camera-like inset, two cuts, one cross-fade, and a hand-held pan over a large poster. Every frame is a
function of its index alone, so that a single one can be rendered and compared with the shipped file.
The font is the one that Pillow bundles.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Pixels = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]

WIDTH_PX, HEIGHT_PX, FPS, NUM_FRAMES = 640, 360, 10, 250
POSTER_WIDTH_PX, POSTER_HEIGHT_PX = 1280, 620
INSET_BOX: Box = (488, 246, 624, 344)
FADE_START_SECONDS, FADE_END_SECONDS, PAN_END_SECONDS = 12.0, 13.0, 19.0
SEED = 7


@dataclass(frozen=True)
class SlideText:
    """A line of text on a slide; the box is in frame pixels, right and bottom edges excluded."""

    text: str
    role: str
    box_px: Box
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True)
class PosterText:
    """A label on the poster; the box is in poster pixels, subtract the frame's pan offset for the frame's."""

    text: str
    poster_box_px: Box


@dataclass(frozen=True)
class Slide:
    title: str
    bullets: tuple[tuple[str, float], ...]
    start_seconds: float
    end_seconds: float
    colour: tuple[int, int, int]


SLIDES = (
    Slide(
        "Why dense video is cheap",
        (
            ("Most of a frame repeats", 1.0),
            ("Text appears once, then stays", 2.2),
            ("Spend tokens on change", 3.4),
        ),
        0.0,
        6.0,
        (23, 84, 143),
    ),
    Slide(
        "Three numbers to remember",
        (("Cell: 28 x 28 pixels", 7.0), ("Budget: 25 percent", 8.2), ("Order code: 7316", 9.4)),
        6.0,
        FADE_END_SECONDS,
        (134, 56, 92),
    ),
    Slide(
        "What changed?",
        (("The cursor moved", 20.0), ("The camera panned", 21.2), ("Ferry 42 left the pier", 22.4)),
        PAN_END_SECONDS,
        25.0,
        (35, 104, 74),
    ),
)
POSTER_LABELS = (
    ("HARBOUR MAP", 56, 60, 40),
    ("North pier", 420, 110, 28),
    ("Lighthouse", 120, 330, 28),
    ("Fish market", 620, 300, 30),
    ("Ferry 42", 860, 150, 34),
    ("Dry dock", 900, 420, 28),
    ("Old mill", 360, 470, 28),
    ("Exit 9", 1120, 300, 32),
)
# seconds, x, y of where the cursor rests or turns; None while it is out of the picture
CURSOR_STOPS = (
    ((0.0, 560, 60), (1.0, 560, 60), (2.0, 70, 150), (3.2, 330, 196), (4.2, 330, 196), (6.0, 420, 240)),
    ((6.0, 420, 240), (7.4, 120, 140), (8.6, 120, 140), (9.8, 300, 240), (12.0, 300, 240), (13.0, 300, 240)),
    (
        (19.0, 90, 300),
        (20.4, 90, 300),
        (21.6, 380, 190),
        (22.6, 380, 190),
        (24.0, 250, 300),
        (25.0, 250, 300),
    ),
)


def font(size_px: int) -> Any:
    return ImageFont.load_default(size=size_px)


def text_box(text: str, left_px: int, top_px: int, size_px: int) -> Box:
    """The box that the ink of a text fills, with one pixel around it."""
    left, top, right, bottom = font(size_px).getbbox(text)
    return (
        int(left_px + left - 1),
        int(top_px + top - 1),
        int(left_px + right + 1),
        int(top_px + bottom + 1),
    )


def slide_texts(slide: Slide) -> list[tuple[SlideText, int, int, int]]:
    """The slide's texts, each with left, top and font size."""
    lines = [(slide.title, "title", slide.start_seconds, 40, 36, 36)]
    lines += [
        (text, "bullet", start, 68, 116 + 56 * row, 26) for row, (text, start) in enumerate(slide.bullets)
    ]
    return [
        (SlideText(text, role, text_box(text, left, top, size), start, slide.end_seconds), left, top, size)
        for text, role, start, left, top, size in lines
    ]


def slide_at(seconds: float) -> Slide | None:
    return next((slide for slide in SLIDES if slide.start_seconds <= seconds < slide.end_seconds), None)


def draw_slide(slide: Slide, seconds: float) -> Image.Image:
    image = Image.new("RGB", (WIDTH_PX, HEIGHT_PX), (246, 245, 241))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, WIDTH_PX, 10), fill=slide.colour)
    draw.rectangle((40, 86, 600, 88), fill=slide.colour)
    for text, left, top, size in slide_texts(slide):
        if seconds >= text.start_seconds:
            draw.text(
                (left, top),
                text.text,
                font=font(size),
                fill=slide.colour if text.role == "title" else (38, 38, 44),
            )
            if text.role == "bullet":
                draw.rectangle((44, top + 10, 54, top + 20), fill=slide.colour)
    return image


def draw_inset(image: Image.Image, index: int) -> None:
    """A camera-like picture in the corner: a figure that sways before a wall, with sensor noise."""
    left, top, right, bottom = INSET_BOX
    width, height = right - left, bottom - top
    scene = Image.new("RGB", (width * 2, height * 2), (96, 108, 118))
    draw = ImageDraw.Draw(scene)
    draw.rectangle((0, 140, width * 2, height * 2), fill=(74, 66, 60))
    sway = 18 * np.sin(0.42 * index) + 6 * np.sin(0.9 * index)
    nod = 5 * np.sin(0.7 * index + 1)
    centre = width + sway
    draw.ellipse((centre - 70, 118 + nod, centre + 70, 300), fill=(44, 92, 132))
    draw.ellipse((centre - 34, 40 + nod, centre + 34, 124 + nod), fill=(214, 170, 138))
    draw.ellipse((30 + index * 3 % (2 * width), 20, 48 + index * 3 % (2 * width), 38), fill=(226, 190, 70))
    pixels = np.asarray(scene.resize((width, height), Image.Resampling.BILINEAR), dtype=np.float32)
    noise = np.random.default_rng((SEED, index)).normal(0, 4, pixels.shape)
    image.paste(Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)), (left, top))
    ImageDraw.Draw(image).rectangle((left - 1, top - 1, right, bottom), outline=(60, 60, 66), width=2)


def cursor_at(seconds: float) -> tuple[float, float] | None:
    """Tip of the cursor, eased between its stops; None during the pan."""
    for stops in CURSOR_STOPS:
        for (start, x0, y0), (end, x1, y1) in zip(stops, stops[1:], strict=False):
            if start <= seconds < end:
                share = (seconds - start) / (end - start)
                eased = share * share * (3 - 2 * share)
                return round(x0 + eased * (x1 - x0), 2), round(y0 + eased * (y1 - y0), 2)
    return None


def draw_cursor(image: Image.Image, tip: tuple[float, float]) -> None:
    outline = ((0, 0), (0, 17), (4, 13), (7, 20), (10, 19), (7, 12), (12, 12))
    points = [(tip[0] + x, tip[1] + y) for x, y in outline]
    ImageDraw.Draw(image).polygon(points, fill=(20, 20, 20), outline=(255, 255, 255))


def poster_texts() -> list[PosterText]:
    return [PosterText(text, text_box(text, left, top, size)) for text, left, top, size in POSTER_LABELS]


@lru_cache(maxsize=1)
def poster() -> npt.NDArray[np.float32]:
    """The large picture the camera pans over: land and water with texture, streets, houses and labels."""
    random = np.random.default_rng(SEED)
    texture = np.zeros((POSTER_HEIGHT_PX, POSTER_WIDTH_PX), np.float32)
    for cells, weight in ((6, 30), (24, 14), (90, 8)):
        grid = random.normal(0, 1, (cells // 2 + 2, cells)).astype(np.float32)
        texture += weight * cv2.resize(
            grid, (POSTER_WIDTH_PX, POSTER_HEIGHT_PX), interpolation=cv2.INTER_CUBIC
        )
    land = np.where(texture[..., None] > -4, np.float32([176, 172, 134]), np.float32([108, 146, 170]))
    image = Image.fromarray(np.clip(land + 0.7 * texture[..., None], 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(14):
        x0, y0, x1, y1 = random.integers(0, [POSTER_WIDTH_PX, POSTER_HEIGHT_PX] * 2)
        draw.line((x0, y0, x1, y1), fill=(224, 216, 196), width=7)
    for _ in range(170):
        x, y, side = (
            random.integers(0, POSTER_WIDTH_PX),
            random.integers(0, POSTER_HEIGHT_PX),
            random.integers(9, 30),
        )
        colour = tuple(int(value) for value in random.integers(60, 210, 3))
        draw.rectangle((x, y, x + side, y + side * 0.8), fill=colour, outline=(70, 66, 60))
    for text, left, top, size in POSTER_LABELS:
        x0, y0, x1, y1 = text_box(text, left, top, size)
        draw.rectangle((x0 - 8, y0 - 6, x1 + 8, y1 + 6), fill=(250, 246, 230), outline=(60, 52, 44), width=2)
        draw.text((left, top), text, font=font(size), fill=(52, 34, 28))
    return np.asarray(image, dtype=np.float32)


@lru_cache(maxsize=1)
def pan_offsets_px() -> npt.NDArray[np.float64]:
    """Top left corner of the view in poster pixels, float64 [frames of the pan, 2]: curve and jitter."""
    count = round((PAN_END_SECONDS - FADE_START_SECONDS) * FPS)
    share = np.linspace(0, 1, count)
    path = np.stack([20 + 590 * share, 20 + 100 * (1 - np.cos(2 * np.pi * share)) / 2], axis=1)
    jitter = np.random.default_rng(SEED).normal(0, 0.6, (count, 2))
    for step in range(1, count):
        jitter[step] += 0.5 * jitter[step - 1]
    return np.round(path + jitter + 4, 3)


def draw_pan(index: int) -> Image.Image:
    x, y = pan_offsets_px()[index - round(FADE_START_SECONDS * FPS)]
    view = np.float64([[1, 0, -x], [0, 1, -y]])
    pixels = cv2.warpAffine(poster(), view, (WIDTH_PX, HEIGHT_PX), flags=cv2.INTER_CUBIC)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def render_frame(index: int) -> Pixels:
    """Render one frame, uint8 [360, 640, 3] RGB, from its index alone."""
    seconds = index / FPS
    slide = slide_at(seconds)
    if slide is None:
        return np.asarray(draw_pan(index))
    image = draw_slide(slide, seconds)
    draw_inset(image, index)
    tip = cursor_at(seconds)
    if tip is not None:
        draw_cursor(image, tip)
    if seconds >= FADE_START_SECONDS and slide is SLIDES[1]:
        share = (seconds - FADE_START_SECONDS) / (FADE_END_SECONDS - FADE_START_SECONDS)
        image = Image.blend(image, draw_pan(index), share)
    return np.asarray(image)


def ground_truth() -> dict[str, Any]:
    """Everything that is known about the clip, ready for JSON."""
    texts = [asdict(text) for slide in SLIDES for text, *_ in slide_texts(slide)]
    return {
        "video": {"width_px": WIDTH_PX, "height_px": HEIGHT_PX, "fps": FPS, "num_frames": NUM_FRAMES},
        "scenes": _scenes(),
        "cuts_seconds": [SLIDES[1].start_seconds, PAN_END_SECONDS],
        "fades": [{"start_seconds": FADE_START_SECONDS, "end_seconds": FADE_END_SECONDS}],
        "texts": texts,
        "poster_texts": [asdict(text) for text in poster_texts()],
        "inset": {
            "box_px": INSET_BOX,
            "spans_seconds": [[slide.start_seconds, slide.end_seconds] for slide in SLIDES],
        },
        "pan": {
            "start_seconds": FADE_START_SECONDS,
            "end_seconds": PAN_END_SECONDS,
            "offsets_px": pan_offsets_px().tolist(),
        },
        "cursor_px": [cursor_at(index / FPS) for index in range(NUM_FRAMES)],
    }


def _scenes() -> list[dict[str, Any]]:
    scenes = [
        {"kind": "slide", "start_seconds": slide.start_seconds, "end_seconds": slide.end_seconds}
        for slide in SLIDES
    ]
    pan = {"kind": "pan", "start_seconds": FADE_START_SECONDS, "end_seconds": PAN_END_SECONDS}
    return sorted([*scenes, pan], key=lambda scene: scene["start_seconds"])


def encode(path: Path) -> None:
    """Write the clip as H.264, one thread so that the file is the same each time."""
    options = {"crf": "25", "preset": "slow", "threads": "1", "x264-params": "keyint=50"}
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(FPS), options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
        for index in range(NUM_FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(render_frame(index), format="rgb24")))
        container.mux(stream.encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder for slides.mp4 and slides.json")
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    encode(folder / "slides.mp4")
    (folder / "slides.json").write_text(json.dumps(ground_truth(), indent=1) + "\n")
    print(f"{folder / 'slides.mp4'}: {(folder / 'slides.mp4').stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
