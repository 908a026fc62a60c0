"""Clips as the gate judges them, where a tower pools a grid of patches to cells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from framegate.models.towers.grid_geometry import JudgedSize, judged_frame
from framegate.models.video_processor.clip import PixelFormat
from framegate.types import UInt8Array


class JudgedPixels(Protocol):
    """What the gate needs of a clip."""

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width of the frames."""
        ...

    def pixels(self, pixel_format: PixelFormat = "gray") -> Iterator[UInt8Array]:
        """Luma of the frames one by one, uint8 [h, w]; or "rgb24", uint8 [h, w, 3]."""
        ...

    @property
    def knows_codec_keyframes(self) -> bool:
        """True when it is known which frames the codec coded on their own."""
        ...

    def has_codec_keyframe(self, tube: int) -> bool:
        """Tell, once its pixels were read, whether the codec coded a frame of a tube on its own."""
        ...


@dataclass(frozen=True)
class JudgedClip:
    """A clip as the gate judges it: cropped to what the tower sees, scaled to whole cells.

    Args:
        clip: at tower size.
        size: the crop and the scale.
    """

    clip: JudgedPixels
    size: JudgedSize

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width of the judged frames."""
        return self.size.judged_px, self.size.judged_px

    def pixels(self, pixel_format: PixelFormat = "gray") -> Iterator[UInt8Array]:
        """Luma or colours of the frames one by one, uint8 [judged_px, judged_px] or [judged_px, judged_px, 3]."""
        for frame in self.clip.pixels(pixel_format):
            yield judged_frame(frame, self.size)

    @property
    def knows_codec_keyframes(self) -> bool:
        """What the clip knows."""
        return self.clip.knows_codec_keyframes

    def has_codec_keyframe(self, tube: int) -> bool:
        """What the clip says."""
        return self.clip.has_codec_keyframe(tube)
