"""Whether a frame plan is of the video that it is brought to."""

from __future__ import annotations

import numpy as np

from framegate.errors import FrameError
from framegate.types import FramePlan, VideoInfo

# Times of one frame, told twice, agree to this.
SAME_TIME_SECONDS = 1e-3


def check_same_video(frames: FramePlan, info: VideoInfo) -> None:
    """Raise FrameError where a video has not the frames that a plan names, or has them at other times."""
    last = int(frames.indices[-1])
    if last >= info.num_frames:
        raise FrameError(
            f"The plan names frame {last}; {info.source or 'the video'} has {info.num_frames} frames. Give the video "
            "that was planned."
        )
    times = info.frame_times_seconds[frames.indices]
    apart = np.flatnonzero(~np.isclose(times, frames.timestamps_seconds, rtol=0, atol=SAME_TIME_SECONDS))
    if len(apart):
        place = int(apart[0])
        raise FrameError(
            f"The plan has frame {frames.indices[place]} at {frames.timestamps_seconds[place]:.3f} s; in "
            f"{info.source or 'the video'} it is at {times[place]:.3f} s. Give the video that was planned."
        )
