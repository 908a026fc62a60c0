"""Caps: how much one video of a request may take, looked at before it is decoded, and who may name which sources."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from os import PathLike
from typing import Any

from framegate.errors import CapError
from framegate.settings import Count, Positive, check


@dataclass(frozen=True, kw_only=True)
class Caps:
    """The most that a video may take; None for no cap. What is beyond is refused, where samplers would thin it out.

    Args:
        cap_frames: frames that are used: those that the sampler chose, or all that were given in memory.
        cap_pixels: width times height of a frame as it is stored.
        cap_seconds: length of the video, or of its window.
        cap_bytes: of the file, the download or the data: address.
        public_only: take no path and no file:// address, and http(s) addresses outside private networks alone: for
            sources that somebody on another machine names.

    Raises:
        ConfigError: a cap that is not above 0.
    """

    cap_frames: Count | None = None
    cap_pixels: Count | None = None
    cap_seconds: Positive | None = None
    cap_bytes: Count | None = None
    public_only: bool = False

    def __post_init__(self) -> None:
        check(self, "caps")

    def lowered(self, caps: Mapping[str, Any]) -> Caps:
        """Follow the caps of one call by their names: the smaller holds, for who calls may be a stranger."""
        own = {name: getattr(self, name) for name in caps}
        return replace(
            self, **{name: most if own[name] is None else min(most, own[name]) for name, most in caps.items()}
        )

    def shared(self, videos: int) -> Caps:
        """The caps of each of several videos that may take no more than one does."""
        most = max(videos, 1)
        return replace(
            self,
            cap_frames=None if self.cap_frames is None else max(1, self.cap_frames // most),
            cap_seconds=None if self.cap_seconds is None else self.cap_seconds / most,
            cap_bytes=None if self.cap_bytes is None else max(1, self.cap_bytes // most),
        )

    def check_frames(self, count: int, source: str) -> None:
        """Refuse a video of which too many frames would be used; CapError."""
        _check("cap_frames", count, self.cap_frames, source, "frames", "take fewer (fps, max_frames)")

    def check_pixels(self, width_px: int, height_px: int, source: str) -> None:
        """Refuse a video of too large frames; CapError."""
        what = f"pixels a frame ({width_px} x {height_px})"
        _check("cap_pixels", width_px * height_px, self.cap_pixels, source, what, "scale it down first")

    def check_seconds(self, seconds: float, source: str) -> None:
        """Refuse a video, or a window of one, that is too long; CapError."""
        _check(
            "cap_seconds", seconds, self.cap_seconds, source, "seconds", "cut it, or ask for a window of it"
        )

    def check_bytes(self, count: int, source: str) -> None:
        """Refuse a file that is too large; CapError."""
        _check("cap_bytes", count, self.cap_bytes, source, "bytes", "encode it smaller, or cut it")

    def check_file(self, path: str | PathLike[str], source: str) -> None:
        """Refuse a file of this machine where sources are public, or one that is too large; CapError."""
        if self.public_only:
            raise CapError(
                f"{source} names no video on the public network (cap public_only); give an http(s):// address, or the "
                "file's bytes as 'data:video/mp4;base64,...'.",
                cap="public_only",
            )
        if self.cap_bytes is not None and os.path.isfile(path):
            self.check_bytes(os.path.getsize(path), source)


NO_CAPS = Caps()
# what a call may lower for itself
CAPS = tuple(field.name for field in fields(Caps) if field.name.startswith("cap_"))

# what a caller of a server gets unless whoever serves says otherwise
SERVED_CAPS: Mapping[str, Any] = {
    "cap_frames": 768,
    "cap_pixels": 4096 * 2160,
    "cap_seconds": 3600.0,
    "cap_bytes": 256 << 20,
    "public_only": True,
}


def _check(cap: str, found: float, most: float | None, source: str, what: str, remedy: str) -> None:
    if most is not None and found > most:
        raise CapError(
            f"{source} has {found:,.10g} {what}, and {cap} is {most:,.10g}: {remedy}, or raise the cap.",
            cap=cap,
        )
