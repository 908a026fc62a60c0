"""Clips as the gate judges them, where a tower pools a grid of patches to cells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from framegate.models.grid_tower.geometry import JudgedSize
from framegate.models.grid_tower.judged import judged_frame
from framegate.types import UInt8Array


class LumaClip(Protocol):
    """What the gate needs of a clip."""

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width of the luma."""
        ...

    def luma(self) -> Iterator[UInt8Array]:
        """Luma of the frames one by one, uint8 [h, w]."""
        ...

    @property
    def knows_codec_keyframes(self) -> bool:
        """True when it is known which frames the codec coded on their own."""
        ...

    def has_codec_keyframe(self, tube: int) -> bool:
        """Tell, once its luma was read, whether the codec coded a frame of a tube on its own."""
        ...


@dataclass(frozen=True)
class JudgedClip:
    """A clip as the gate judges it: cropped to what the tower sees, scaled to whole cells.

    Args:
        clip: at tower size.
        size: the crop and the scale.
    """

    clip: LumaClip
    size: JudgedSize

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width of the judged luma."""
        return self.size.judged_px, self.size.judged_px

    def luma(self) -> Iterator[UInt8Array]:
        """Luma of the frames one by one, uint8 [judged_px, judged_px]."""
        for luma in self.clip.luma():
            yield judged_frame(luma, self.size)

    @property
    def knows_codec_keyframes(self) -> bool:
        """What the clip knows."""
        return self.clip.knows_codec_keyframes

    def has_codec_keyframe(self, tube: int) -> bool:
        """What the clip says."""
        return self.clip.has_codec_keyframe(tube)
