"""The small types that every stage takes and returns: which frames, from which video. Pure data, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from framegate.errors import FrameError
from framegate.notebook import html_bars, html_notes

Int64Array = npt.NDArray[np.int64]
Float64Array = npt.NDArray[np.float64]
UInt8Array = npt.NDArray[np.uint8]
Int32Array = npt.NDArray[np.int32]
Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
TimeCode = Literal["clip", "frame", "burned"]
TIME_CODES: tuple[TimeCode, ...] = get_args(TimeCode)


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What is known of a video before a frame is decoded.

    Args:
        source: path or address it was opened from; None for frames in memory.
        width_px: width as shown: turned, and with square pixels.
        height_px: height as shown.
        frame_times_seconds: container time stamps in order of presentation, float64 [F]; empty for live sources.
        duration_seconds: end of the last frame; 0.0 for live sources.
        codec: the codec's short name, "raw" for frames in memory.
        rotation_degrees: clockwise turn that the container asks for: 0, 90, 180 or 270.
        is_mirrored: the container asks for left and right to be swapped after the turn.
        pixel_aspect: width of a stored pixel by its height.
        video_stream: number of the stream among all of the container's; None for frames in memory.
        is_live: frames come once, in order, without a known end.
        warnings: what had to be assumed or was found damaged while looking.
        content: the file's bytes where they were given in place of a path; `source` names their number.
        codec_keyframes: frames of a file that are coded on their own, int64 [K]; empty where nothing says it.
    """

    source: Path | str | None
    width_px: int
    height_px: int
    frame_times_seconds: Float64Array = field(repr=False)
    duration_seconds: float
    codec: str
    rotation_degrees: int = 0
    is_mirrored: bool = False
    pixel_aspect: float = 1.0
    video_stream: int | None = None
    is_live: bool = False
    warnings: tuple[str, ...] = ()
    content: bytes | None = field(default=None, repr=False)
    codec_keyframes: Int64Array = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)

    @property
    def num_frames(self) -> int:
        """Number of frames, 0 when it is not known beforehand (live)."""
        return len(self.frame_times_seconds)

    @property
    def average_fps(self) -> float:
        """Frames per second over the whole duration, 0.0 when unknown."""
        return self.num_frames / self.duration_seconds if self.duration_seconds > 0 else 0.0


@dataclass(frozen=True, kw_only=True)
class FramePlan:
    """Which frames of a video are used; every sampler returns one, later stages read nothing else.

    Streams and clips that overlap in time stand in one order of time; a prompt takes them apart by group.

    Args:
        indices: position in order of presentation, int64 [F], not decreasing (a frame may be used twice).
        timestamps_seconds: container time of each, float64 [F].
        scale: side of each relative to the common size, float64 [F] in (0, 1].
        group: frames with one number belong together (scene, clip, stream, zoom), int64 [F].
        notes: what the sampler could not do as asked.
        time_code: how a prompt tells the times: "clip" shows each group as a video of its own with a text before it,
            "frame" each frame with its number, "burned" draws seconds into the pixels; None leaves it to the model.
        scores: how much each mattered to the sampler, float64 [F]; None where nothing was scored.
    """

    indices: Int64Array
    timestamps_seconds: Float64Array
    scale: Float64Array
    group: Int64Array
    notes: tuple[str, ...] = ()
    time_code: TimeCode | None = None
    scores: Float64Array | None = None

    def __post_init__(self) -> None:
        """Check that the arrays agree.

        Raises:
            FrameError: lengths differ, no frame at all, indices that go back, or an unknown time code.
        """
        lengths = {
            name: len(getattr(self, name)) for name in ("indices", "timestamps_seconds", "scale", "group")
        }
        if len(set(lengths.values())) != 1:
            raise FrameError(f"A frame plan needs four arrays of one length, got {lengths}.")
        if self.scores is not None and len(self.scores) != len(self.indices):
            raise FrameError(f"A frame plan of {len(self.indices)} frames has {len(self.scores)} scores.")
        if len(self.indices) == 0:
            raise FrameError("A frame plan needs at least one frame, got none.")
        if np.any(np.diff(self.indices) < 0):
            raise FrameError("The indices of a frame plan must not decrease; sort them by time.")
        if self.time_code not in (None, *TIME_CODES):
            raise FrameError(
                f"time_code is {self.time_code!r}; it must be None or one of {', '.join(TIME_CODES)}."
            )

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def full_frames(self) -> float:
        """Frames of scale 1 that have as many pixels as all of the plan's: what plans at one budget agree in."""
        return float(np.sum(self.scale**2))

    def __repr__(self) -> str:
        first, last = self.timestamps_seconds[[0, -1]]
        return f"FramePlan({len(self)} frames, {first:.2f} to {last:.2f} s)"

    def _repr_html_(self) -> str:
        labels = [
            f"frame {index}, {time:.2f} s"
            for index, time in zip(self.indices, self.timestamps_seconds, strict=True)
        ]
        bars = html_bars(self.scale.tolist(), labels, "the size of each chosen frame")
        told = f"{repr(self)[len('FramePlan(') : -1]}; a bar is a frame's size"
        return html_notes(told, ()) + bars + html_notes("", self.notes)

    def part(self, positions: Int64Array | BoolArray) -> FramePlan:
        """Take some of the frames.

        Args:
            positions: int64 [k], rising, or bool [F].

        Returns:
            The plan of those; all else stays.
        """
        arrays = ("indices", "timestamps_seconds", "scale", "group")
        scores = None if self.scores is None else self.scores[positions]
        return replace(self, scores=scores, **{name: getattr(self, name)[positions] for name in arrays})

    @classmethod
    def from_indices(cls, indices: Int64Array, frame_times_seconds: Float64Array) -> FramePlan:
        """Build a plan of whole frames in one group.

        Args:
            indices: int64 [F] into frame_times_seconds.
            frame_times_seconds: float64 [N], times of all frames of the video.

        Returns:
            The plan, scale 1 and group 0 throughout.
        """
        indices = np.asarray(indices, dtype=np.int64)
        return cls(
            indices=indices,
            timestamps_seconds=np.asarray(frame_times_seconds, dtype=np.float64)[indices],
            scale=np.ones(len(indices)),
            group=np.zeros(len(indices), dtype=np.int64),
        )

    @classmethod
    def from_groups(
        cls,
        groups: Sequence[Int64Array],
        frame_times_seconds: Float64Array,
        *,
        scales: Sequence[float] | None = None,
        notes: tuple[str, ...] = (),
        time_code: TimeCode | None = None,
    ) -> FramePlan:
        """Build a plan of streams or clips, which may overlap.

        Args:
            groups: int64 [F_i] into frame_times_seconds, each not decreasing; their place is their number.
            frame_times_seconds: float64 [N], times of all frames of the video.
            scales: scale of each group, None for 1.
            notes: what the sampler could not do as asked.
            time_code: how a prompt tells the times.

        Returns:
            The plan in order of time; a frame of several groups stands once for each, the lower number first.
        """
        counts = [len(group) for group in groups]
        indices = np.concatenate(groups).astype(np.int64)
        order = np.argsort(indices, kind="stable")
        return cls(
            indices=indices[order],
            timestamps_seconds=np.asarray(frame_times_seconds, dtype=np.float64)[indices[order]],
            scale=np.repeat(np.asarray(scales or [1.0] * len(groups), np.float64), counts)[order],
            group=np.repeat(np.arange(len(groups)), counts)[order],
            notes=notes,
            time_code=time_code,
        )


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One decoded frame.

    Args:
        index: position in order of presentation.
        timestamp_seconds: container time.
        pixels: uint8 [h, w, 3] RGB, or [h, w] luma when only luma was asked for.
        is_damaged: the decoder had to make up a part of it.
    """

    index: int
    timestamp_seconds: float
    pixels: UInt8Array = field(repr=False)
    is_damaged: bool = False
