"""Pictures to damage, and what may become of one that is a frame: what Pillow shows, or framegate's error."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from clips import gradient_frames
from PIL import Image, ImageOps

_FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "rgb.png": ("PNG", {}),
    "rgb.jpg": ("JPEG", {"quality": 90}),
    "progressive.jpg": ("JPEG", {"progressive": True}),
    "lossy.webp": ("WEBP", {"quality": 80}),
    "lossless.webp": ("WEBP", {"lossless": True}),
    "plain.tiff": ("TIFF", {}),
    "lzw.tiff": ("TIFF", {"compression": "tiff_lzw"}),
    "deflate.tiff": ("TIFF", {"compression": "tiff_deflate"}),
    "jpeg.tiff": ("TIFF", {"compression": "jpeg"}),
}


def seeds(folder: Path) -> dict[str, bytes]:
    """A picture in every format that phones, browsers and scanners write, most of them lying on their side by EXIF."""
    # grain, so that most damage falls on pixels and not on headers
    grain = np.random.default_rng(14).integers(0, 24, (96, 128, 3), dtype=np.uint8)
    rgb = Image.fromarray(gradient_frames(1, height_px=96, width_px=128)[0] // 2 + grain)
    deep = Image.fromarray(grain[..., 0].astype(np.uint16) * 2700)
    made = {name: _saved(rgb, kind, exif=_lying(), **options) for name, (kind, options) in _FORMATS.items()}
    made["plain.gif"] = _saved(rgb.convert("P"), "GIF")
    made["palette.png"] = _saved(rgb.convert("P"), "PNG", transparency=3, exif=_lying())
    made["deep.png"] = _saved(deep, "PNG", exif=_lying())
    made["deep.tiff"] = _saved(deep, "TIFF", compression="tiff_lzw")
    made["cmyk.jpg"] = _saved(rgb.convert("CMYK"), "JPEG")
    return made


def _lying() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def _saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


def tried(data: bytes) -> str:
    """Read a picture as a frame of a video: "read", "noted" or "refused", else what is wrong."""
    import framegate
    from framegate.errors import FramegateError

    try:
        with warnings.catch_warnings():
            # Pillow's, of odd EXIF
            warnings.simplefilter("ignore")
            with framegate.open_video([data], fps=1) as stream:
                (frame,) = stream.frames()
                noted = bool(stream.warnings)
            expected = plain(data)
    except FramegateError:
        return "refused"
    except Exception as problem:
        return f"foreign {type(problem).__name__}: {str(problem)[:120]}"
    if noted:
        return "noted"
    if (stream.info.height_px, stream.info.width_px) != frame.pixels.shape[:2]:
        return "another size than was said"
    return (
        "read" if np.array_equal(frame.pixels, expected) else "other pixels than Pillow gives, without a note"
    )


def plain(data: bytes) -> np.ndarray[Any, Any]:
    """The picture by Pillow alone, uint8 [h, w, 3]; sixteen bits by their upper eight, rounded."""
    picture = Image.open(io.BytesIO(data))
    picture = ImageOps.exif_transpose(picture)
    if not picture.mode.startswith("I"):
        return np.asarray(picture.convert("RGB"))
    greys = np.rint(np.asarray(picture) / 257).astype(np.uint8)
    return np.repeat(greys[..., None], 3, axis=2)
