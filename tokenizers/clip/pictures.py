"""Pictures as frames: files, bytes or Pillow's objects, turned as their EXIF asks for and brought to eight bits."""

from __future__ import annotations

import io
import os
import struct
import sys
from os import PathLike
from typing import Any

import numpy as np

from framegate.errors import FrameError
from framegate.tokenizers.clip.address import shown
from framegate.types import UInt8Array

WHITE, DEEP_WHITE = 255, 65535
EIGHT_BITS_IN_MODE_I = (
    "Pictures of mode 'I' hold nothing above 255: they were taken to be of eight bits; save them as sixteen "
    "(mode 'I;16') where 65535 is white."
)
_EXIF_ORIENTATION, _LYING = 0x0112, (5, 6, 7, 8)
# files of which Pillow makes mode "I" of their sixteen bits alone
_SIXTEEN_BITS = ("PNG", "PPM")
_PNG_SIGNATURE_BYTES, _PNG_CHECKSUM_BYTES = 8, 4


def is_picture(item: Any) -> bool:
    """True for a path, the bytes of a file, or a picture of Pillow."""
    pillow = sys.modules.get("PIL.Image")
    return isinstance(item, str | PathLike | bytes) or (pillow is not None and isinstance(item, pillow.Image))


def picture_size(item: Any, place: int) -> tuple[int, int]:
    """Height and width as shown; a file is opened, not decoded. FrameError for what is no picture."""
    picture = _opened(item, place)
    return (picture.width, picture.height) if _is_lying(picture) else (picture.height, picture.width)


def stored_size(item: Any, place: int) -> tuple[int, int]:
    """Width and height as stored; a file is opened, never decoded. FrameError for what is no picture."""
    picture = _opened(item, place)
    return picture.width, picture.height


def decoded(item: Any, place: int, white: int) -> UInt8Array:
    """A picture turned as its EXIF asks for: uint8 [h, w, 3], or [h, w] where it is grey of more than eight bits.

    Args:
        item: the picture.
        place: number of the frame, for messages.
        white: brightest value of a picture of mode "I", see `white_of`.

    Raises:
        FrameError: it cannot be decoded, or has pixels without a known white.
    """
    from PIL import ImageOps

    picture = _opened(item, place)
    deep = DEEP_WHITE if _says_sixteen_bits(picture) else white
    try:
        picture = ImageOps.exif_transpose(picture)
        if not picture.mode.startswith(("I", "F")):
            # a copy: torch warns of arrays that cannot be written to
            return np.array(picture.convert("RGB"))
        # Pillow would cut everything above 255
        values = np.asarray(picture)
        if picture.mode == "F" or values.min() < 0 or values.max() > deep:
            raise OSError(
                f"pixels of mode {picture.mode!r} from {values.min():g} to {values.max():g} have no known white"
            )
        return ((values.astype(np.uint32) * WHITE + deep // 2) // deep).astype(np.uint8)
    except Exception as problem:
        # Pillow's readers raise what they like at broken files
        raise FrameError(f"Frame {place}, {shown(item)}, cannot be decoded ({problem}).") from problem


def white_of(pictures: dict[int, Any]) -> int | None:
    """The white of a video's pictures that do not say how many bits they have, mode "I", by their place.

    As for arrays of whole numbers: 255 where none of them holds more, else 65535; None where all say it.
    """
    silent = {place: item for place, item in pictures.items() if _is_silent(_opened(item, place))}
    if not silent:
        return None
    try:
        highest = max(int(np.asarray(_opened(item, place)).max()) for place, item in silent.items())
    except Exception as problem:
        raise FrameError(
            f"Frames {', '.join(map(str, silent))} cannot all be decoded ({problem})."
        ) from problem
    return WHITE if highest <= WHITE else DEEP_WHITE


def _opened(item: Any, place: int) -> Any:
    if not isinstance(item, str | PathLike | bytes):
        return item
    from PIL import Image

    try:
        return Image.open(io.BytesIO(item) if isinstance(item, bytes) else item)
    except Exception as problem:
        why = (
            problem.strerror
            if isinstance(problem, OSError) and problem.strerror
            else "it is none, or damaged"
        )
        raise FrameError(
            f"Frame {place}, {shown(item)}, cannot be opened as a picture ({why}). A list holds the frames of one "
            "video; give each video an entry of its own."
        ) from problem


def _says_sixteen_bits(picture: Any) -> bool:
    return picture.mode.startswith("I;16") or (picture.mode == "I" and picture.format in _SIXTEEN_BITS)


def _is_silent(picture: Any) -> bool:
    return picture.mode == "I" and not _says_sixteen_bits(picture)


def _is_lying(picture: Any) -> bool:
    """True of a picture that its EXIF asks to turn by a quarter; its pixels are not read, as by PNG's own getexif."""
    from PIL import Image

    if picture.format == "TIFF":
        # Pillow tells the size of these as it is shown
        return False
    try:
        if _has_late_exif(picture):
            picture.load()
        return Image.Image.getexif(picture).get(_EXIF_ORIENTATION) in _LYING
    except Exception:
        # what is broken is told when the picture is decoded
        return False


def _has_late_exif(picture: Any) -> bool:
    """True of a PNG whose EXIF stands behind its pixels, where Pillow sees it only once these are read."""
    file = getattr(picture, "fp", None)
    if picture.format != "PNG" or "exif" in picture.info or file is None:
        return False
    stands = file.tell()
    try:
        file.seek(_PNG_SIGNATURE_BYTES)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind == b"eXIf":
                return True
            file.seek(length + _PNG_CHECKSUM_BYTES, os.SEEK_CUR)
        return False
    finally:
        file.seek(stands)
