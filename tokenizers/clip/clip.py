"""Clip: chosen frames of a video at a tower's size, read as often as wanted and never held whole."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import numpy.typing as npt
from tqdm.auto import tqdm

from framegate.errors import VideoError
from framegate.notebook import no_bar
from framegate.tokenizers.clip.pixels import PixelFormat, Resample, Size, View, brought, middle, on_black
from framegate.tokenizers.clip.stream import VideoStream
from framegate.tokenizers.time_code import burned
from framegate.types import Float64Array, Frame, FramePlan, UInt8Array, VideoInfo


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What of a frame the gate judges where the tower does not see all of it in whole cells.

    Args:
        seen_px: side of the top left square that the tower reads.
        judged_px: side to scale that square to, a whole number of cells.
    """

    seen_px: int
    judged_px: int

    def __call__(self, frame: UInt8Array) -> UInt8Array:
        """Crop and scale a frame at tower size, uint8 [h, w] or [h, w, 3]."""
        seen = frame[: self.seen_px, : self.seen_px]
        if self.judged_px == self.seen_px:
            return np.ascontiguousarray(seen)
        size = (self.judged_px, self.judged_px)
        scaled: UInt8Array = cv2.resize(seen, size, interpolation=cv2.INTER_LINEAR)
        return scaled


@dataclass(kw_only=True)
class Clip:
    """Frames of an open video at one size: what the gate judges and what a tower reads, from any source.

    A last tube that is not full repeats its last frame. Frames that a damaged file cannot give leave the clip once a
    pass has ended.

    Args:
        stream: the open video: a file or its bytes, frames in memory, or a live source.
        frames: which of its frames; None for a live source, whose frames come once and all.
        size_px: height and width at the tower.
        cell_px: side of a cell as the gate judges it.
        tube_frames: frames of a tube.
        full_px: height and width that the tower asks for, where the budget made frames smaller; None for size_px.
        scaled_px: height and width of frames before size_px is cut out of their middle, or, where they are smaller,
            before they lie at the top left of black ones of size_px; None for size_px.
        squeezes: such frames are scaled once more, to size_px, and nothing is cut off.
        resample: how frames are brought to size_px.
        judged: crop and scale before the gate; None judges whole frames.
        burns_seconds: draw the second of every frame into it, for tower and gate alike.
        show_progress: draw a bar on a terminal.
    """

    stream: VideoStream
    frames: FramePlan | None
    size_px: Size
    cell_px: int
    tube_frames: int
    full_px: Size | None = None
    scaled_px: Size | None = None
    squeezes: bool = False
    resample: Resample = "area"
    judged: Judged | None = None
    burns_seconds: bool = False
    show_progress: bool = False
    _indices: deque[int] = field(default_factory=deque, init=False, repr=False)
    _times: deque[float] = field(default_factory=deque, init=False, repr=False)
    _num_seen: int = field(default=0, init=False, repr=False)

    @property
    def info(self) -> VideoInfo:
        """What is known of the whole video."""
        return self.stream.info

    @property
    def judged_px(self) -> Size:
        """Height and width of the frames that `pixels` gives."""
        return self.size_px if self.judged is None else (self.judged.judged_px, self.judged.judged_px)

    @property
    def times_seconds(self) -> Float64Array:
        """Time of each frame, float64 [F]; nobody knows those of a live source beforehand, which has none."""
        return np.zeros(0) if self.frames is None else self.frames.timestamps_seconds

    @property
    def num_tubes(self) -> int:
        """Tubes, T; 0 for a live source."""
        return -(-len(self.times_seconds) // self.tube_frames)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What had to be assumed, or went wrong without stopping the reading."""
        return (*(self.frames.notes if self.frames is not None else ()), *self.stream.warnings)

    @property
    def knows_codec_keyframes(self) -> bool:
        """True when it is known which frames the codec coded on their own."""
        return len(self.stream.codec_keyframes) > 0

    def has_codec_keyframe(self, tube: int) -> bool:
        """Tell, once its pixels were read, whether the video passed a frame coded on its own since the tube before.

        Frames between those in use count: a cut is often coded where no sampler looks.
        """
        coded = self.stream.codec_keyframes
        if len(coded) == 0:
            return False
        end = self._indices[min((tube + 1) * self.tube_frames, self._num_seen) - 1]
        before = self._indices[tube * self.tube_frames - 1] if tube else -1
        return bool(np.any((coded > before) & (coded <= end)))

    def frames_of_tube(self, tube: int) -> FramePlan:
        """The frames of a tube, once its pixels were read; of a live source for the last tubes only."""
        first = tube * self.tube_frames - (self._num_seen - len(self._times))
        indices, times = (
            list(seen)[first : first + self.tube_frames] for seen in (self._indices, self._times)
        )
        count = len(indices)
        return FramePlan(
            indices=np.array(indices, np.int64),
            timestamps_seconds=np.array(times, np.float64),
            scale=np.ones(count),
            group=np.zeros(count, np.int64),
        )

    def pixels(self, pixel_format: PixelFormat = "gray") -> Iterator[UInt8Array]:
        """Give the frames one by one as the gate judges them: uint8 [h, w], or "rgb24" uint8 [h, w, 3]."""
        # a live source has no end: what was seen must not grow with it
        held = 2 * self.tube_frames if self.frames is None else None
        self._indices, self._times, self._num_seen = deque(maxlen=held), deque(maxlen=held), 0
        for frame in self._read(self.frames, pixel_format, "gating"):
            self._indices.append(frame.index)
            self._times.append(frame.timestamp_seconds)
            self._num_seen += 1
            yield frame.pixels if self.judged is None else self.judged(frame.pixels)
        self._leave_out_lost(list(self._indices))

    def tubes(self, needed: npt.NDArray[np.bool_] | None = None) -> Iterator[tuple[int, UInt8Array]]:
        """Give the colours of tubes, as the tower reads them; not of a live source.

        Args:
            needed: bool [T], which tubes; None for all.

        Returns:
            Iterator over number and frames, uint8 [k, h, w, 3], in order.

        Raises:
            VideoError: a second pass gave fewer frames than the first.
        """
        plan = self.frames
        assert plan is not None
        tube_of = np.arange(len(self.times_seconds)) // self.tube_frames
        wanted = np.arange(len(tube_of)) if needed is None else np.flatnonzero(needed[tube_of])
        waiting: list[UInt8Array] = []
        given: list[int] = []
        for frame in self._read(plan.part(wanted), "rgb24", "reading"):
            number = int(tube_of[wanted[len(given)]])
            waiting.append(frame.pixels)
            given.append(frame.index)
            if len(given) == len(wanted) or tube_of[wanted[len(given)]] != number:
                yield number, _filled(waiting, self.tube_frames)
                waiting = []
        if waiting:
            yield number, _filled(waiting, self.tube_frames)
        if needed is None:
            self._leave_out_lost(given)
        elif len(given) < len(wanted):
            raise VideoError(
                f"{str(self.info.source)!r} gave {len(given)} of {len(wanted)} frames when it was read again; "
                "copy it to a local disk."
            )

    def judged_frames(self) -> Iterator[UInt8Array]:
        """Give the frames in colours as the gate judges them, uint8 [h, w, 3]: what a plan shows."""
        for frame in self._read(self.frames, "rgb24", "reading"):
            yield frame.pixels if self.judged is None else self.judged(frame.pixels)

    def _leave_out_lost(self, given: list[int]) -> None:
        if self.frames is not None and len(given) < len(self.frames):
            self.frames = self.frames.part(np.isin(self.frames.indices, given))

    def _read(self, plan: FramePlan | None, pixel_format: PixelFormat, verb: str) -> Iterable[Frame]:
        scaled_px = self.scaled_px or self.size_px
        squeezes = self.squeezes and scaled_px != self.size_px
        frames: Iterable[Frame] = self.stream.frames(
            plan,
            size_px=scaled_px,
            pixel_format="rgb24" if squeezes else pixel_format,
            resample=self.resample,
        )
        if squeezes:
            view = View(size_px=self.size_px, pixel_format=pixel_format, resample=self.resample)
            frames = (replace(frame, pixels=brought(frame.pixels, view)) for frame in frames)
        elif scaled_px != self.size_px:
            is_smaller = all(own <= whole for own, whole in zip(scaled_px, self.size_px, strict=True))
            place = on_black if is_smaller else middle
            frames = (replace(frame, pixels=place(frame.pixels, self.size_px)) for frame in frames)
        total = None if plan is None else len(plan)
        hidden = no_bar(self.show_progress)
        bar: Iterable[Frame] = tqdm(frames, total=total, desc=verb, unit="frame", leave=False, disable=hidden)
        if not self.burns_seconds:
            return bar
        return (replace(frame, pixels=burned(frame.pixels, frame.timestamp_seconds)) for frame in bar)


def _filled(frames: list[UInt8Array], tube_frames: int) -> UInt8Array:
    """Make a tube of 1 to k frames: uint8 [k, h, w, 3]; the last repeats where they are fewer."""
    return np.stack(frames + [frames[-1]] * (tube_frames - len(frames)))
