"""How players show a stored picture: turned, mirrored, and with pixels of what shape."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Size = tuple[int, int]

# a pixel further from square is a damaged header
_LONGEST_PIXEL = 10.0


def as_shown(frame: Any, stored_pixel_aspect: float) -> dict[str, Any]:
    """Tell how a decoded av.VideoFrame is shown.

    Args:
        frame: it carries the display matrix.
        stored_pixel_aspect: width of its pixels by their height, as the file says.

    Returns:
        The fields of VideoInfo: width_px, height_px, rotation_degrees, is_mirrored, pixel_aspect.
    """
    rotation, mirrored = orientation(_display_matrix(frame))
    aspect = believed_aspect(stored_pixel_aspect)
    height, width = shown_px(frame, rotation, aspect)
    return {
        "width_px": width,
        "height_px": height,
        "rotation_degrees": rotation,
        "is_mirrored": mirrored,
        "pixel_aspect": aspect,
    }


def odd_pixels_note(stored_pixel_aspect: float, name: str) -> tuple[str, ...]:
    """Say that pixels are too far from square to be true, if they are."""
    if believed_aspect(stored_pixel_aspect) == stored_pixel_aspect:
        return ()
    return (
        f"{name} says that its pixels are {stored_pixel_aspect:g} times as wide as high; square ones were assumed.",
    )


def believed_aspect(pixel_aspect: float) -> float:
    """A pixel's width by its height, 1 where that is too far from square to be true."""
    return pixel_aspect if 1 / _LONGEST_PIXEL <= pixel_aspect <= _LONGEST_PIXEL else 1.0


class PixelAspects:
    """Tells the pixel aspect of each frame that a stream's decoder gives; made before the first one is decoded.

    A container's own word holds for all frames; where it has none, a frame that is coded on its own may change it.
    """

    def __init__(self, stream: Any) -> None:
        self._context = stream.codec_context
        self._latest = _aspect(stream)
        self._changes = self._latest == _aspect(self._context)

    def of(self, frame: Any) -> float:
        """Width of a pixel by its height, of the frame that was decoded last."""
        if self._changes and frame.key_frame:
            self._latest = _aspect(self._context)
        return self._latest


def _aspect(told_by: Any) -> float:
    return float(told_by.sample_aspect_ratio or 1)


def _display_matrix(frame: Any) -> Any:
    """The display matrix's four numbers that turn and mirror, int32 [2, 2] as (a, b), (c, d)."""
    from av.sidedata.sidedata import Type

    found = frame.side_data.get(Type.DISPLAYMATRIX)
    matrix = np.frombuffer(bytes(found), np.int32) if found is not None else np.zeros(0, np.int32)
    return matrix.reshape(3, 3)[:2, :2] if matrix.size == 9 else np.zeros((2, 2), np.int32)


def orientation(matrix: Any) -> tuple[int, bool]:
    """Turn a display matrix into the clockwise quarter turn nearest to it, and whether a mirror follows.

    Args:
        matrix: [[a, b], [c, d]]: a stored point (x, y) is shown at (a x + c y, b x + d y); zeros for none.

    Returns:
        0, 90, 180 or 270; True where left and right are swapped after the turn.
    """
    (a, b), (c, d) = np.asarray(matrix, np.float64)
    mirrored = a * d - b * c < 0
    angle = math.degrees(math.atan2(b, -a if mirrored else a))
    return round(angle / 90) % 4 * 90, bool(mirrored)


def shown_px(frame: Any, rotation_degrees: int, pixel_aspect: float) -> Size:
    """Height and width with square pixels, turned; the side that grows makes up for long pixels, so none is lost."""
    height = frame.height if pixel_aspect >= 1 else round(frame.height / pixel_aspect)
    width = frame.width if pixel_aspect <= 1 else round(frame.width * pixel_aspect)
    return (width, height) if rotation_degrees in (90, 270) else (height, width)
