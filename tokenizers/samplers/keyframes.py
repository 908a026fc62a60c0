"""Keyframes, and frames between them where they leave the video uncovered: KFFocus' frame sampling."""

from __future__ import annotations

import heapq
from dataclasses import replace
from typing import Literal

import numpy as np

from framegate.settings import Count, PerCall, Share, checked
from framegate.tokenizers.clip.window import Window, window_bounds, window_frames, windowed
from framegate.tokenizers.samplers._content import content_keyframes
from framegate.tokenizers.samplers._spaced import nearest
from framegate.tokenizers.scoring import open_file
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
    info, inside = windowed(info, window), window_frames(info, window)
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
    notes: tuple[str, ...] = ()
    if source != "content" and info.source is not None:
        found, doubt = codec_keyframes(info)
        if source == "codec" or doubt is None:
            return found, notes
        notes = (f"{doubt}; keyframes were found in the pictures instead",)
    with open_file(info, window, "keyframes") as stream:
        known = len(stream.warnings)
        return content_keyframes(stream), (*notes, *stream.warnings[known:])


def codec_keyframes(info: VideoInfo) -> tuple[Int64Array, str | None]:
    """List the frames of a file that are coded on their own, int64 [K], and why not to trust them.

    None where they can be trusted; not where there is but one, or their distance is constant, in frames or in seconds,
    to one frame.
    """
    keyframes = info.codec_keyframes
    if len(keyframes) < 2:
        return keyframes, f"the file has {len(keyframes)} codec keyframe{'' if len(keyframes) == 1 else 's'}"
    times = info.frame_times_seconds
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


# Times such as 1/30 s have no exact float: 0.3 / 0.1 is three, and a gap this little too long is not.
SLACK = 1e-9


def compensated(times_seconds: Float64Array, keyframes: Int64Array, max_gap_seconds: float) -> Int64Array:
    """Add the first and last frame, and evenly spaced frames wherever the distance is too long.

    A gap of T_k above the longest one allowed, m, gets n_k = floor(T_k / m) frames, at the frames nearest to equal
    parts. Where that leaves a gap above m, as there is no frame exactly there, the next larger n_k that leaves none
    is taken. Where none does (the file itself has holes), the parts that are too long are treated the same way.

    Args:
        times_seconds: float64 [F], not decreasing, F at least 1.
        keyframes: int64 [K], ranks into them, ascending.
        max_gap_seconds: m, above 0.

    Returns:
        int64 [S], ranks, ascending, the keyframes among them; a gap above m has no frame inside.

    Source: KFFocus (arXiv 2508.08989), n_k = floor(T_k / (delta T)); head, tail and the larger n_k are ours.
    """
    chosen = np.union1d(keyframes, [0, len(times_seconds) - 1]).astype(np.int64)
    while len(wide := _too_wide(times_seconds, chosen, max_gap_seconds)):
        added = [_between(times_seconds, int(chosen[i]), int(chosen[i + 1]), max_gap_seconds) for i in wide]
        chosen = np.union1d(chosen, np.concatenate(added))
    return chosen


def _too_wide(times: Float64Array, chosen: Int64Array, max_gap: float) -> Int64Array:
    """Places in `chosen` behind which there is a gap that is too long and has a frame inside."""
    gaps = np.diff(times[chosen])
    return np.flatnonzero((gaps > max_gap * (1 + SLACK)) & (np.diff(chosen) > 1))


def _between(times: Float64Array, first: int, last: int, max_gap: float) -> Int64Array:
    """Ranks of the compensation frames strictly between two frames."""
    parts = (times[last] - times[first]) / max_gap + SLACK
    if parts >= last - first - 1:
        return np.arange(first + 1, last)
    least = int(parts)
    for count in range(least, min(2 * least + 2, last - first)):
        ranks = _evenly(times, first, last, count)
        if not len(_too_wide(times, np.array([first, *ranks, last]), max_gap)):
            return ranks
    return _evenly(times, first, last, least)


def _evenly(times: Float64Array, first: int, last: int, count: int) -> Int64Array:
    """Ranks strictly between two frames, nearest to the points that cut their distance into equal parts."""
    moments = times[first] + (times[last] - times[first]) * np.arange(1, count + 1) / (count + 1)
    return np.unique(first + 1 + nearest(times[first + 1 : last], moments))


def filled(times_seconds: Float64Array, chosen: Int64Array, num_frames: int) -> Int64Array:
    """Halve the longest gap between chosen ranks, again and again, until there are enough frames.

    int64 [min(num_frames, F)], or [S] when that is more; of equal gaps the earlier one is halved first.
    """
    ranks = [int(rank) for rank in chosen]
    gaps = [_gap(times_seconds, first, last) for first, last in zip(ranks, ranks[1:], strict=False)]
    gaps = [gap for gap in gaps if gap[2] - gap[1] > 1]
    heapq.heapify(gaps)
    while gaps and len(ranks) < num_frames:
        _, first, last = heapq.heappop(gaps)
        centre = (times_seconds[first] + times_seconds[last]) / 2
        middle = first + 1 + int(nearest(times_seconds[first + 1 : last], np.array([centre]))[0])
        ranks.append(middle)
        for part in ((first, middle), (middle, last)):
            if part[1] - part[0] > 1:
                heapq.heappush(gaps, _gap(times_seconds, *part))
    return np.array(sorted(ranks), np.int64)


def _gap(times: Float64Array, first: int, last: int) -> tuple[float, int, int]:
    return float(times[first] - times[last]), first, last


def thinned(
    times_seconds: Float64Array, chosen: Int64Array, keyframes: Int64Array, num_frames: int
) -> Int64Array:
    """Leave frames out, each time the one whose absence leaves the shortest gap; keyframes go last.

    int64 [min(num_frames, S)], the first and the last of chosen among them (the first alone for 1); of equal gaps the
    earlier frame goes first.
    """
    if num_frames == 1:
        return chosen[:1]
    times = times_seconds[chosen]
    is_key = np.isin(chosen, keyframes)
    before, after = np.arange(len(chosen)) - 1, np.arange(len(chosen)) + 1

    def entry(at: int) -> tuple[bool, float, int, int, int]:
        left, right = int(before[at]), int(after[at])
        return bool(is_key[at]), float(times[right] - times[left]), at, left, right

    queue = [entry(at) for at in range(1, len(chosen) - 1)]
    heapq.heapify(queue)
    stays = np.ones(len(chosen), bool)
    for _ in range(len(chosen) - num_frames):
        _, _, at, left, right = heapq.heappop(queue)
        # entries of before a neighbour went are stale
        while not stays[at] or (left, right) != (before[at], after[at]):
            _, _, at, left, right = heapq.heappop(queue)
        stays[at] = False
        after[left], before[right] = right, left
        for side in (left, right):
            if 0 < side < len(chosen) - 1:
                heapq.heappush(queue, entry(side))
    return chosen[stays]
