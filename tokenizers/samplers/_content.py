"""Keyframes by what is seen: cuts, and changes that have come to rest, found in small luma pictures."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from framegate.tokenizers.clip import VideoStream
from framegate.tokenizers.scoring import small_size
from framegate.types import Float64Array, Int64Array

Luma = npt.NDArray[np.float32]

LONGER_SIDE_PX = 64
# A cut differs from the frame before by this many levels on average, and by this many times the usual step.
CUT_LEVELS = 5.0
CUT_RATIO = 3.0
NEIGHBOURS = 4
# A change differs by this much from where the scene began, and has come to rest since the last look.
CHANGE_LEVELS = 6.0
REST_LEVELS = 2.0
LOOK_EVERY_SECONDS = 0.5
# A camera's move is taken off up to this share of the picture; smaller pictures are compared as they are.
MAX_SHIFT = 0.25
SMALLEST_SHIFTED_PX = 16


@dataclass(frozen=True)
class _Trace:
    """What is remembered of a pass, per frame: index, difference to the one before, and to the one before that."""

    indices: list[int] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    skips: list[float] = field(default_factory=list)
    looks: list[tuple[int, Luma]] = field(default_factory=list)


def content_keyframes(stream: VideoStream) -> Int64Array:
    """Find the first frame of every scene, and of every state that a scene has changed to.

    Args:
        stream: an open file; its clip window is decoded once. Memory holds a picture of at most 64 x 64 bytes
            for each half second.

    Returns:
        int64 [K], indices of frames, ascending, the window's first frame among them. A cut is placed exactly; a
        dissolve, or a slide that fills up, within half a second after it has come to rest.

    Raises:
        VideoError: nothing can be decoded.
    """
    trace = _watch(stream)
    cuts = find_cuts(np.array(trace.steps), np.array(trace.skips))
    ranks = {0, *cuts, *find_changes(trace.looks, cuts)}
    return np.array(trace.indices, np.int64)[sorted(ranks)]


def find_cuts(steps: Float64Array, skips: Float64Array) -> list[int]:
    """Find cuts, the rank of the first frame after each, by differences in levels to the frame before and to the one
    before it.

    Both frames on one side must differ from the one on the other, so that a flash of one frame is none; and the step
    must stand out from those around it, so that fast motion is none. Two steps in a row are one cut with a blended
    frame between.
    """
    scores = np.array(steps, np.float64)
    scores[:1] = 0
    scores[2:] = np.minimum(scores[2:], skips[2:])
    scores[1:-1] = np.minimum(scores[1:-1], skips[2:])
    found = {int(at) for at in np.flatnonzero(scores > CUT_LEVELS) if _stands_out(scores, steps, int(at))}
    return sorted(at for at in found if at + 1 not in found)


def _stands_out(scores: Float64Array, steps: Float64Array, at: int) -> bool:
    around = np.concatenate([steps[max(1, at - NEIGHBOURS) : at], steps[at + 1 : at + 1 + NEIGHBOURS]])
    return len(around) == 0 or bool(scores[at] > CUT_RATIO * np.median(around))


def find_changes(looks: Iterable[tuple[int, Luma]], cuts: list[int]) -> list[int]:
    """Find where a scene has changed without a cut and come to rest, in small luma pictures, float32 [h, w], by rank.

    Ranks of looks that show something else than the scene's beginning or its last change, ascending.
    """
    found: list[int] = []
    scene = -1
    reference = previous = np.zeros((0, 0), np.float32)
    for rank, luma in looks:
        if bisect_right(cuts, rank) != scene:
            scene, reference = bisect_right(cuts, rank), luma
        elif _plain(previous, luma) < REST_LEVELS and difference(reference, luma) > CHANGE_LEVELS:
            found.append(rank)
            reference = luma
        previous = luma
    return found


def difference(before: Luma, after: Luma) -> float:
    """Compare two small pictures, float32 [h, w], in mean levels, the camera's shift taken off where that helps."""
    plain = _plain(before, after)
    if plain <= CUT_LEVELS or min(before.shape) < SMALLEST_SHIFTED_PX:
        return plain
    height, width = before.shape
    right, down = _shift(before, after)
    if abs(right) > MAX_SHIFT * width or abs(down) > MAX_SHIFT * height:
        return plain
    return min(plain, _plain(_overlap(before, -right, -down), _overlap(after, right, down)))


def _plain(before: Luma, after: Luma) -> float:
    return float(cv2.absdiff(before, after).mean())


def _shift(before: Luma, after: Luma) -> tuple[int, int]:
    """Whole pixels by which the second picture lies right of and below the first; none for flat pictures."""
    window = cv2.createHanningWindow(before.shape[::-1], cv2.CV_32F)
    # OpenCV would apply the window to the pictures themselves, in place
    (right, down), _ = cv2.phaseCorrelate((before - before.mean()) * window, (after - after.mean()) * window)
    return (round(right), round(down)) if np.isfinite([right, down]).all() else (0, 0)


def _overlap(luma: Luma, right: int, down: int) -> Luma:
    """The part of a picture that the other one shows too, this one being shifted right and down against it."""
    height, width = luma.shape
    return luma[max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)]


def _watch(stream: VideoStream) -> _Trace:
    """Decode the window once, keeping two frames and what is remembered of the others."""
    trace = _Trace()
    size_px = small_size(stream.info, longer_px=LONGER_SIDE_PX)
    last: list[Luma] = []
    next_look_seconds = -np.inf
    for frame in stream.frames(size_px=size_px, pixel_format="gray"):
        luma = frame.pixels.astype(np.float32)
        trace.steps.append(difference(last[-1], luma) if last else 0.0)
        trace.skips.append(difference(last[-2], luma) if len(last) > 1 else 0.0)
        if frame.timestamp_seconds >= next_look_seconds:
            trace.looks.append((len(trace.indices), luma))
            next_look_seconds = frame.timestamp_seconds + LOOK_EVERY_SECONDS
        trace.indices.append(frame.index)
        last = [*last[-1:], luma]
    return trace
