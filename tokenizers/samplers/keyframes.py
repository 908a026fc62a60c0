"""Keyframes, and frames between them where they leave the video uncovered: KFFocus' frame sampling."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from framegate.settings import Count, PerCall, Share, checked
from framegate.tokenizers.clip import VideoStream
from framegate.tokenizers.clip.window import Window, window_bounds, window_frames
from framegate.tokenizers.relevance.frames import open_file
from framegate.tokenizers.samplers._content import content_keyframes
from framegate.tokenizers.samplers._coverage import compensated, filled, thinned
from framegate.types import Float64Array, FramePlan, Int64Array, VideoInfo

KeyframeSource = Literal["auto", "codec", "content"]


@checked
def sample(
    info: VideoInfo,
    *,
    num_frames: Count | None = None,
    max_frames: Count | None = None,
    coverage: Share = 0.05,
    keyframe_source: KeyframeSource = "auto",
    start_seconds: PerCall[float | None] = None,
    end_seconds: PerCall[float | None] = None,
) -> FramePlan:
    """Choose the keyframes, the first and the last frame, and frames between them wherever a gap is too long.

    No gap between chosen frames is above coverage * T afterwards, T being the length of the clip window, except
    between two neighbouring frames of the file that lie further apart, or where the budget is too small (a note
    in the plan says so, with the longest gap).

    Args:
        info: a video file.
        num_frames: K: exactly so many frames, or all when the window holds fewer; None for as many
            as it takes.
        max_frames: no more than this, None for no limit.
        coverage: delta, longest gap as a share of the window's length.
        keyframe_source: "codec" for the file's I-frames, without decoding; "content" for cuts and changes seen
            in small luma pictures, which decodes the window once; "auto" for the codec's, unless they lie at a
            constant distance or there is but one, which tells of the encoder's setting and not of the content.
        start_seconds: start of the clip window, None for the beginning.
        end_seconds: end of the clip window, None for the end.

    Returns:
        Different frames in order of time. group counts scenes: it goes up at each keyframe. Above the budget
        frames are left out one by one, each time the one whose absence leaves the shortest gap: first of the
        compensation frames, then of the keyframes; the first and the last frame stay (only the first when K is
        1). Below num_frames the longest gaps are halved.

    Raises:
        ConfigError: a setting out of range, or an unknown keyframe_source.
        FrameError: a live source, frames in memory, or a window that holds no frame.
        VideoError: the file has gone, or nothing can be decoded.

    Source: KFFocus (arXiv 2508.08989): I-frames, delta, compensation frames, these evenly spaced as in the
        re-implementation of inside-china-ai; head and tail, "content", "auto" and the budget are added here.
    """
    window = (start_seconds, end_seconds)
    inside = window_frames(info, window)
    times = info.frame_times_seconds[inside]
    found, notes = _find(info, window, keyframe_source)
    keyframes = np.flatnonzero(np.isin(inside, found))
    start, end = window_bounds(info, inside, window)
    covered = compensated(times, keyframes, coverage * (end - start))
    chosen = _fitted(times, covered, keyframes, num_frames, max_frames)
    if len(chosen) < len(covered):
        notes = (*notes, _thinned_note(times, covered, chosen, keyframes, coverage * (end - start)))
    plan = FramePlan.from_indices(inside[chosen], info.frame_times_seconds)
    return replace(plan, group=_scenes(chosen, keyframes), notes=notes)


def _find(info: VideoInfo, window: Window, source: str) -> tuple[Int64Array, tuple[str, ...]]:
    """Indices of keyframes in the video, and what has to be said of how they were found."""
    with open_file(info, window, "keyframes") as stream:
        notes: tuple[str, ...] = ()
        if source != "content":
            found, doubt = codec_keyframes(stream)
            if source == "codec" or doubt is None:
                return found, notes
            notes = (f"{doubt}; keyframes were found in the pictures instead",)
        known = len(stream.warnings)
        return content_keyframes(stream), (*notes, *stream.warnings[known:])


def codec_keyframes(stream: VideoStream) -> tuple[Int64Array, str | None]:
    """List the frames of a file that are coded on their own, without decoding.

    Args:
        stream: an open file.

    Returns:
        int64 [K] indices, and why they should not be trusted as keyframes (None: they can): there is but one,
        or their distance is constant, in frames or in seconds, to one frame.
    """
    keyframes = stream.codec_keyframes
    if len(keyframes) < 2:
        return keyframes, f"the file has {len(keyframes)} codec keyframe{'' if len(keyframes) == 1 else 's'}"
    times = stream.info.frame_times_seconds
    one_frame_seconds = float(np.median(np.diff(times)))
    for places, unit, one_frame in ((keyframes, "frames", 1.0), (times[keyframes], "s", one_frame_seconds)):
        end = len(times) - 1 if unit == "frames" else times[-1]
        if _is_constant(np.asarray(places, np.float64), float(end), one_frame):
            step = float(np.median(np.diff(places)))
            return keyframes, f"the file has a codec keyframe every {step:g} {unit} whatever it shows"
    return keyframes, None


def _is_constant(places: Float64Array, end: float, one_frame: float) -> bool:
    """Whether all distances agree to one frame, and none longer is left at the end."""
    steps = np.diff(places)
    allowed = float(steps.min()) + one_frame * 1.01
    return bool(steps.max() <= allowed and end - places[-1] <= allowed)


def _fitted(
    times: Float64Array,
    covered: Int64Array,
    keyframes: Int64Array,
    num_frames: int | None,
    max_frames: int | None,
) -> Int64Array:
    limits = [value for value in (num_frames, max_frames) if value is not None]
    budget = min(limits, default=len(covered))
    if len(covered) > budget:
        return thinned(times, covered, keyframes, budget)
    return covered if num_frames is None else filled(times, covered, budget)


def _thinned_note(
    times: Float64Array, covered: Int64Array, chosen: Int64Array, keyframes: Int64Array, max_gap: float
) -> str:
    left_out = np.setdiff1d(covered, chosen)
    keys = int(np.isin(left_out, keyframes).sum())
    longest = float(np.diff(times[[0, *chosen, len(times) - 1]]).max())
    return (
        f"{len(covered)} frames were wanted, {len(chosen)} are allowed: {len(left_out) - keys} compensation "
        f"frames and {keys} keyframes were left out, so the longest gap is {longest:.2f} seconds "
        f"(coverage asks for {max_gap:.2f})"
    )


def _scenes(chosen: Int64Array, keyframes: Int64Array) -> Int64Array:
    """Number the scenes that are left 0, 1, 2, ...; a scene starts at every keyframe, also at one left out."""
    scenes = np.searchsorted(keyframes, chosen, side="right")
    return np.unique(scenes, return_inverse=True)[1].astype(np.int64)
