"""From a decoded frame to an array as a player shows it: resized, turned, mirrored and converted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import av
import cv2
import numpy as np
from packaging.version import Version

from framegate.errors import ConfigError, FrameError, VideoError, nearest
from framegate.tokenizers.clip.as_shown import believed_aspect, shown_px
from framegate.types import UInt8Array, VideoInfo

PixelFormat = Literal["rgb24", "gray"]
Resample = Literal["area", "bilinear", "bicubic", "lanczos"]
Size = tuple[int, int]

# Formats whose first plane is 8-bit luma, with the range they have when the frame does not say.
_LUMA_FIRST = ("yuv420p", "yuv422p", "yuv444p", "yuv440p", "yuv411p", "yuv410p", "nv12", "nv21", "nv16")
_LUMA_FIRST_FULL = ("yuvj420p", "yuvj422p", "yuvj444p", "yuvj440p", "yuvj411p", "gray")
_RANGE_LIMITED, _RANGE_FULL = 1, 2
# libswscale's own numbers; PyAV names the last two only from 18 on.
_SWS_BICUBIC, _SWS_AREA, _SWS_FULL_CHR_H_INT, _SWS_ACCURATE_RND = 4, 0x20, 0x2000, 0x40000
# Unspecified, BT.470BG, SMPTE 170M: luma is 0.299 R + 0.587 G + 0.114 B, as swscale reads them.
_LUMA_601 = (2, 5, 6)
# torch from which on its resize knows "lanczos"
_LANCZOS_SINCE = "2.12"
# sides' ratios this near are the same picture in another resolution
_SAME_ASPECT = 0.02
_EXPAND = np.clip(np.round((np.arange(256) - 16.0) * 255 / 219), 0, 255).astype(np.uint8)


@dataclass(frozen=True, kw_only=True)
class View:
    """How frames are handed out.

    Args:
        size_px: height and width as shown, None for the frame's own.
        pixel_format: "rgb24" or "gray" (luma 0.299 R + 0.587 G + 0.114 B, full range).
        resample: "area" takes luma from the file's own plane and scales while it converts; the others are transformers'
            way: RGB at full size, then torch's antialiased resize, and luma of that.

    Raises:
        FrameError: a size that is no pair of whole numbers above 0.
        ConfigError: an unknown pixel format or resample.
    """

    size_px: Size | None = None
    pixel_format: PixelFormat = "rgb24"
    resample: Resample = "area"

    def __post_init__(self) -> None:
        if self.pixel_format not in get_args(PixelFormat):
            known = nearest(str(self.pixel_format), get_args(PixelFormat))
            raise ConfigError(f"pixel_format is {self.pixel_format!r}. {known}")
        if self.resample not in get_args(Resample):
            raise ConfigError(
                f"resample is {self.resample!r}. {nearest(str(self.resample), get_args(Resample))}"
            )
        if self.size_px is None:
            return
        if not _is_size(self.size_px):
            raise FrameError(
                f"size_px is {self.size_px}; it must be (height, width), whole numbers of at least 1."
            )


def _is_size(size_px: Any) -> bool:
    try:
        height, width = size_px
        return all(side == int(side) and side >= 1 for side in (height, width))
    except (TypeError, ValueError):
        return False


class PixelConverter:
    """Turns decoded frames into arrays; holds one scaler for a pass, for its filters are costly to set up.

    A frame of another shape than the video's is fitted in with black beside it.

    Args:
        view: size and format wanted.
        info: how the video is shown.
        note: told where the video's size, or the shape of its pixels, changes.
    """

    def __init__(self, view: View, info: VideoInfo, note: Callable[[str], None]) -> None:
        from av.video.reformatter import VideoReformatter

        self._view, self._info, self._note = view, info, note
        self._told: set[Size] = set()
        self._reformatter = VideoReformatter()

    def __call__(self, frame: Any, pixel_aspect: float, timestamp_seconds: float) -> UInt8Array:
        """Convert one av.VideoFrame as shown: uint8 [h, w, 3] RGB or [h, w] luma, contiguous, a copy."""
        info = self._info
        height, width = self._view.size_px or (info.height_px, info.width_px)
        wanted = int(height), int(width)
        own = shown_px(frame, info.rotation_degrees, believed_aspect(pixel_aspect))
        if own == (info.height_px, info.width_px):
            return self._at(frame, wanted)
        if own not in self._told:
            self._told.add(own)
            self._note(
                f"The size of {info.source} changes from {info.width_px} x {info.height_px} to {own[1]} x {own[0]} px "
                f"at {timestamp_seconds:g} seconds; such frames were scaled to fit, with black beside them where their "
                "shape is another."
            )
        return _framed(self._at(frame, _fitted(own, wanted)), wanted)

    def _at(self, frame: Any, size_px: Size) -> UInt8Array:
        """The frame as shown, at a size; VideoError for pixels that FFmpeg cannot turn into RGB."""
        try:
            return self._converted(frame, size_px)
        except (av.FFmpegError, ValueError) as problem:
            raise VideoError(
                f"Frames of {str(self._info.source)!r} have pixels of format {frame.format.name!r}, which cannot be "
                f"turned into RGB ({problem}); convert the file, say to H.264."
            ) from problem

    def _converted(self, frame: Any, size_px: Size) -> UInt8Array:
        view, info = self._view, self._info
        if view.resample != "area":
            # the very conversion of transformers' PyAV reader, flags and all
            whole: UInt8Array = frame.to_ndarray(format="rgb24")
            return brought(
                turn(whole, info.rotation_degrees, info.is_mirrored), replace(view, size_px=size_px)
            )
        stored = size_px[::-1] if info.rotation_degrees in (90, 270) else size_px
        convert = self._gray if view.pixel_format == "gray" else self._rgb
        return turn(convert(frame, *stored), info.rotation_degrees, info.is_mirrored)

    def _rgb(self, frame: Any, height: int, width: int) -> UInt8Array:
        shrinks = height <= frame.height and width <= frame.width
        converted = self._reformatter.reformat(
            frame, width=width, height=height, format="rgb24", interpolation=_filter(shrinks)
        )
        return np.asarray(converted.to_ndarray(), dtype=np.uint8)

    def _gray(self, frame: Any, height: int, width: int) -> UInt8Array:
        luma = luma_plane(frame)
        if luma is None:
            pixels: UInt8Array = cv2.cvtColor(self._rgb(frame, height, width), cv2.COLOR_RGB2GRAY)
            return pixels
        plane, is_limited = luma
        small = resize(plane, (height, width))
        return cv2.LUT(small, _EXPAND) if is_limited else small.copy()


def _filter(shrinks: bool) -> int:
    """Scaler flags; without the last two swscale's RGB is 1.4 levels too dark on average (measured)."""
    return (_SWS_AREA if shrinks else _SWS_BICUBIC) | _SWS_ACCURATE_RND | _SWS_FULL_CHR_H_INT


def luma_plane(frame: Any) -> tuple[UInt8Array, bool] | None:
    """Look at the luma plane of a decoded av.VideoFrame without converting anything.

    uint8 [h, w], a view that dies with the frame, and whether its range is 16 to 235; None where the format has no
    8-bit plane of the luma 0.299 R + 0.587 G + 0.114 B.
    """
    name = frame.format.name
    if name not in _LUMA_FIRST + _LUMA_FIRST_FULL or (name != "gray" and frame.colorspace not in _LUMA_601):
        return None
    plane = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)  # [h, stride]
    is_full = frame.color_range == _RANGE_FULL or (
        frame.color_range != _RANGE_LIMITED and name in _LUMA_FIRST_FULL
    )
    return rows[:, : plane.width], not is_full


def resize(pixels: UInt8Array, size_px: Size) -> UInt8Array:
    """Resize uint8 [h, w] or [h, w, 3]: area average when it shrinks, bicubic when it grows; maybe the input itself."""
    height, width = (int(side) for side in size_px)
    if pixels.shape[:2] == (height, width):
        return pixels
    if height > pixels.shape[0] or width > pixels.shape[1]:
        return _scaled(pixels, height, width, cv2.INTER_CUBIC)
    # OpenCV averages over whole pixels three times as fast as over parts of them.
    factor = min(pixels.shape[0] // height, pixels.shape[1] // width)
    if factor > 1 and pixels.shape[0] % factor == 0 and pixels.shape[1] % factor == 0:
        pixels = _scaled(pixels, pixels.shape[0] // factor, pixels.shape[1] // factor, cv2.INTER_AREA)
    return _scaled(pixels, height, width, cv2.INTER_AREA)


def _scaled(pixels: UInt8Array, height: int, width: int, interpolation: int) -> UInt8Array:
    scaled: UInt8Array = cv2.resize(pixels, (width, height), interpolation=interpolation)
    return scaled


def brought(pixels: UInt8Array, view: View) -> UInt8Array:
    """Bring a picture in memory, RGB [h, w, 3] or grey [h, w], to a view; maybe the input itself."""
    grey = view.pixel_format == "gray"
    if view.resample == "area":
        pixels = luma(pixels) if grey else rgb(pixels)
        return pixels if view.size_px is None else resize(pixels, view.size_px)
    if view.size_px is not None and tuple(view.size_px) != pixels.shape[:2]:
        pixels = resize_frames(rgb(pixels)[None], view.size_px, view.resample)[0]
    return luma(pixels) if grey else rgb(pixels)


def luma(frame: UInt8Array) -> UInt8Array:
    """Luma 0.299 R + 0.587 G + 0.114 B of a frame: uint8 [h, w, 3] RGB or [h, w] luma -> [h, w]."""
    return frame if frame.ndim == 2 else cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)


def rgb(frame: UInt8Array) -> UInt8Array:
    """A frame with three channels: uint8 [h, w, 3] RGB or [h, w] luma -> [h, w, 3]."""
    return frame if frame.ndim == 3 else np.repeat(frame[:, :, None], 3, axis=2)


def resize_frames(frames: UInt8Array, size_px: Size, resample: str = "bicubic") -> UInt8Array:
    """Scale frames, uint8 [F, h, w, 3], as transformers' video processors do ("bicubic", "bilinear" or "lanczos").

    Their resize, torchvision.transforms.v2.functional.resize, ends in the same torch kernel, antialiased; where torch
    has no Lanczos yet they, too, take "bicubic" for it. The input itself when the size is right already.
    """
    import torch

    if frames.shape[1:3] == tuple(size_px):
        return frames
    if resample == "lanczos" and Version(torch.__version__) < Version(_LANCZOS_SINCE):
        resample = "bicubic"
    out = np.empty((len(frames), *size_px, frames.shape[3]), dtype=np.uint8)
    for place, frame in enumerate(frames):
        # channels last: seven times as fast as planes, bit for bit the same
        planes = torch.from_numpy(np.ascontiguousarray(frame))[None].permute(0, 3, 1, 2)
        scaled = torch.nn.functional.interpolate(planes, size_px, mode=resample, antialias=True)
        out[place] = scaled[0].permute(1, 2, 0).numpy()
    return out


def turn(pixels: UInt8Array, clockwise_degrees: int, mirrored: bool = False) -> UInt8Array:
    """Turn an image clockwise by 0, 90, 180 or 270 degrees, then swap left and right: uint8 [h, w, ...], contiguous."""
    turned = np.rot90(pixels, k=-clockwise_degrees // 90)
    return np.ascontiguousarray(turned[:, ::-1] if mirrored else turned)


def middle(pixels: UInt8Array, size_px: Size) -> UInt8Array:
    """Cut the middle out of an image of at least that size, as transformers does: uint8 [h, w, ...], contiguous."""
    top, left = ((whole - part) // 2 for whole, part in zip(pixels.shape[:2], size_px, strict=True))
    return np.ascontiguousarray(pixels[top : top + size_px[0], left : left + size_px[1]])


def on_black(pixels: UInt8Array, size_px: Size) -> UInt8Array:
    """Lay an image at the top left of a black one of at least its size: uint8 [h, w, ...]."""
    canvas = np.zeros((*size_px, *pixels.shape[2:]), np.uint8)
    canvas[: pixels.shape[0], : pixels.shape[1]] = pixels
    return canvas


def _fitted(own: Size, wanted: Size) -> Size:
    """The largest size of a picture's shape inside another; that one itself where the shapes are nearly the same."""
    scale = min(wanted[0] / own[0], wanted[1] / own[1])
    height, width = max(1, round(own[0] * scale)), max(1, round(own[1] * scale))
    near = height >= (1 - _SAME_ASPECT) * wanted[0] and width >= (1 - _SAME_ASPECT) * wanted[1]
    return wanted if near else (height, width)


def _framed(pixels: UInt8Array, size_px: Size) -> UInt8Array:
    """Put an image in the middle of a black one; itself where it fills it."""
    if pixels.shape[:2] == tuple(size_px):
        return pixels
    framed = np.zeros((*size_px, *pixels.shape[2:]), np.uint8)
    top, left = ((whole - part) // 2 for whole, part in zip(size_px, pixels.shape[:2], strict=True))
    framed[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return framed
