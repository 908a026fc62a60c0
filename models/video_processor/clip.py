"""One video at tower size, read twice: luma for the gate, then the colours of the tubes that are needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import cv2
import numpy as np
from tqdm import tqdm
from transformers.video_utils import VideoMetadata

from framegate.errors import VideoError
from framegate.models.towers.patches import BoolArray
from framegate.models.video_processor.metadata import file_metadata
from framegate.types import Float64Array, Frame, FramePlan, UInt8Array

PixelFormat = Literal["gray", "rgb24"]

_FRAMES_WORTH_A_BAR = 512


class Clip(Protocol):
    """What the gate and the patches need of a video, wherever it comes from."""

    source: str | None
    video_seconds: float | None
    full_px: tuple[int, int]

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width at the tower."""
        ...

    @property
    def times_seconds(self) -> Float64Array:
        """Time of each frame in use, float64 [F]."""
        ...

    @property
    def metadata(self) -> VideoMetadata:
        """Times and size for the processor's text."""
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

    def tubes(self, needed: BoolArray | None) -> Iterator[tuple[int, UInt8Array]]:
        """Number and RGB frames [1 to tube_frames, h, w, 3] of the needed tubes, in order."""
        ...

    def warnings(self) -> list[str]:
        """What went wrong without stopping the reading."""
        ...


@dataclass
class FrameClip:
    """Frames in memory, already at tower size.

    Args:
        frames: uint8 [F, h, w, 3].
        times_seconds: float64 [F].
        metadata: the caller's, or a default.
        full_px: height and width that they would have had without down-scaling.
        tube_frames: frames in a tube.
        video_seconds: duration, None when unknown.
        source: None, there is no file.
    """

    frames: UInt8Array
    times_seconds: Float64Array
    metadata: VideoMetadata
    full_px: tuple[int, int]
    tube_frames: int
    video_seconds: float | None
    source: str | None = None

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width."""
        return self.frames.shape[1], self.frames.shape[2]

    def pixels(self, pixel_format: PixelFormat = "gray") -> Iterator[UInt8Array]:
        """The frames, or their luma 0.299 R + 0.587 G + 0.114 B, full range."""
        for frame in self.frames:
            yield frame if pixel_format == "rgb24" else cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)

    @property
    def knows_codec_keyframes(self) -> bool:
        """Frames in memory have no codec."""
        return False

    def has_codec_keyframe(self, tube: int) -> bool:
        """Frames in memory have none."""
        return False

    def tubes(self, needed: BoolArray | None) -> Iterator[tuple[int, UInt8Array]]:
        """Slices of the frames."""
        for tube in range(-(-len(self.frames) // self.tube_frames)):
            if needed is None or needed[tube]:
                yield tube, self.frames[tube * self.tube_frames : (tube + 1) * self.tube_frames]

    def warnings(self) -> list[str]:
        """Nothing can go wrong in memory."""
        return []


@dataclass
class FileClip:
    """A file, decoded at tower size as it is read.

    Args:
        source: path or address.
        stream: the opened video stream.
        plan: frames in use.
        size_px: height and width to decode to.
        full_px: height and width without down-scaling.
        tube_frames: frames in a tube.
        video_seconds: duration of the file or its window.
    """

    source: str | None
    stream: Any
    plan: FramePlan
    size_px: tuple[int, int]
    full_px: tuple[int, int]
    tube_frames: int
    video_seconds: float | None
    _given: list[int] = field(default_factory=list, init=False)

    @property
    def times_seconds(self) -> Float64Array:
        """Container times of the frames in use."""
        return self.plan.timestamps_seconds

    @property
    def metadata(self) -> VideoMetadata:
        """Metadata true to the container's times."""
        return file_metadata(self.stream.info, self.plan)

    def pixels(self, pixel_format: PixelFormat = "gray") -> Iterator[UInt8Array]:
        """Decode luma, or colours; frames that a damaged file cannot give leave the plan at the end."""
        self._given = []
        for frame in self._decode(self.plan, pixel_format, "gating"):
            self._given.append(frame.index)
            yield frame.pixels
        self._leave_out_lost(self._given)

    @property
    def knows_codec_keyframes(self) -> bool:
        """True where the container marks them."""
        return len(self.stream.codec_keyframes) > 0

    def has_codec_keyframe(self, tube: int) -> bool:
        """Look up the frames of a tube that were read."""
        frames = self._given[tube * self.tube_frames : (tube + 1) * self.tube_frames]
        return bool(np.isin(frames, self.stream.codec_keyframes).any())

    def tubes(self, needed: BoolArray | None) -> Iterator[tuple[int, UInt8Array]]:
        """Decode the colours of the needed tubes."""
        tube_of = np.arange(len(self.plan)) // self.tube_frames
        wanted = np.arange(len(self.plan)) if needed is None else np.flatnonzero(needed[tube_of])
        frames: list[UInt8Array] = []
        given: list[int] = []
        for position, frame in zip(
            wanted, self._decode(_part(self.plan, wanted), "rgb24", "reading"), strict=False
        ):
            if frames and tube_of[position] != tube_of[wanted[len(given) - 1]]:
                yield int(tube_of[wanted[len(given) - 1]]), np.stack(frames)
                frames = []
            frames.append(frame.pixels)
            given.append(frame.index)
        if frames:
            yield int(tube_of[wanted[len(given) - 1]]), np.stack(frames)
        if needed is None:
            self._leave_out_lost(given)
        elif len(given) < len(wanted):
            raise VideoError(
                f"{self.source!r} gave {len(given)} of {len(wanted)} frames when it was read again; "
                "copy it to a local disk."
            )

    def warnings(self) -> list[str]:
        """The stream's warnings."""
        return [*self.plan.notes, *map(str, self.stream.warnings)]

    def _leave_out_lost(self, given: list[int]) -> None:
        self.plan = _part(self.plan, np.isin(self.plan.indices, given))

    def _decode(self, plan: FramePlan, pixel_format: str, verb: str) -> Iterable[Frame]:
        frames = self.stream.frames(plan, size_px=self.size_px, pixel_format=pixel_format)
        hidden = True if len(plan) < _FRAMES_WORTH_A_BAR else None  # None: shown on a terminal only
        bar: Iterable[Frame] = tqdm(
            frames, total=len(plan), desc=verb, unit="frame", leave=False, disable=hidden
        )
        return bar


def _part(plan: FramePlan, positions: Any) -> FramePlan:
    return replace(
        plan,
        indices=plan.indices[positions],
        timestamps_seconds=plan.timestamps_seconds[positions],
        scale=plan.scale[positions],
        group=plan.group[positions],
    )
