"""Keyframes by the file's own: I-frames, and whether they tell of the content or of the encoder's setting."""

from __future__ import annotations

import numpy as np

from framegate.tokenizers.video_stream import VideoStream
from framegate.types import Float64Array, Int64Array


def codec_keyframes(stream: VideoStream) -> tuple[Int64Array, str | None]:
    """List the frames of a file that are coded on their own, without decoding.

    Args:
        stream: an open file.

    Returns:
        int64 [K] indices, and why they should not be trusted as keyframes (None: they can): there is but one,
        or their distance is constant, in frames or in seconds, to one frame.

    Source: KFFocus (arXiv 2508.08989) takes I-frames; the doubt is ours.
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
