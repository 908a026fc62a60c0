"""Times of a video in the form transformers' processors read them, true to the container's time stamps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from transformers.video_utils import VideoMetadata

from framegate.errors import ConfigError, FrameError
from framegate.models.families import family_of_type
from framegate.settings import Positive, read
from framegate.tokenizers.clip.memory_source import ASSUMED_FPS
from framegate.types import Float64Array, FramePlan, Int64Array, VideoInfo

_MILLISECONDS = 1000.0


class TimedMetadata(VideoMetadata):  # type: ignore[misc]
    """Metadata of sampled frames whose rate is that of their time stamps, also where it varies.

    Args:
        times_seconds: time of each sampled frame.
        fields: as in transformers' VideoMetadata; frames_indices / fps gives the times.
    """

    def __init__(self, *, times_seconds: Sequence[float], **fields: Any) -> None:
        super().__init__(**fields)
        self.times_seconds = [float(time) for time in times_seconds]

    @property
    def timestamps(self) -> list[float]:
        """Time of each sampled frame, in seconds."""
        return self.times_seconds

    @property
    def sampled_fps(self) -> float:
        """One over the mean distance of sampled frames; that of the whole video for a single frame."""
        span_seconds = self.times_seconds[-1] - self.times_seconds[0]
        if span_seconds > 0:
            return (len(self.times_seconds) - 1) / span_seconds
        return 1 / self.duration if self.duration else ASSUMED_FPS


def is_timed(metadata: VideoMetadata) -> bool:
    """True where the times of frames are known, by their own stamps or by a rate."""
    return metadata.fps is not None or isinstance(metadata, TimedMetadata)


def file_metadata(info: VideoInfo, plan: FramePlan) -> TimedMetadata:
    """Describe the frames taken from a file.

    The file's own indices and rate where these give the time stamps to a millisecond, else the time stamps themselves
    in milliseconds at 1000 frames per second.
    """
    indices, fps = _counted(plan.indices, info.average_fps, plan.timestamps_seconds)
    return TimedMetadata(
        times_seconds=plan.timestamps_seconds.tolist(),
        total_num_frames=info.num_frames,
        fps=float(fps),
        width=info.width_px,
        height=info.height_px,
        duration=info.duration_seconds,
        video_backend="framegate",
        frames_indices=indices.tolist(),
    )


def _counted(indices: Int64Array, fps: float, times_seconds: Float64Array) -> tuple[Int64Array, float]:
    """Indices and a rate that give the times to a millisecond: those at hand, else milliseconds."""
    if fps > 0 and np.allclose(indices / fps, times_seconds, rtol=0, atol=1e-3):
        return indices, fps
    return np.rint(times_seconds * _MILLISECONDS).astype(np.int64), _MILLISECONDS


def counted_metadata(info: VideoInfo, plan: FramePlan) -> VideoMetadata:
    """Describe frames of a file as transformers' readers do: by their count and the file's mean rate.

    Where the frames' own times do not agree with those to a millisecond, as `file_metadata`.
    """
    fps = info.average_fps
    if fps <= 0 or not np.allclose(plan.indices / fps, plan.timestamps_seconds, rtol=0, atol=1e-3):
        return file_metadata(info, plan)
    return VideoMetadata(
        total_num_frames=info.num_frames,
        fps=fps,
        width=info.width_px,
        height=info.height_px,
        duration=info.duration_seconds,
        video_backend="framegate",
        frames_indices=plan.indices.tolist(),
    )


def checked_metadata(metadata: VideoMetadata) -> VideoMetadata:
    """Metadata of frames in memory as a caller gave them, their kinds checked; ConfigError for what does not fit."""
    place = "video_metadata"
    metadata.fps = read(metadata.fps, Positive | None, f"{place}.fps")
    metadata.total_num_frames = read(metadata.total_num_frames, int | None, f"{place}.total_num_frames")
    if metadata.frames_indices is not None:
        indices = np.asarray(metadata.frames_indices)
        if indices.ndim != 1 or not np.issubdtype(indices.dtype, np.number):
            raise ConfigError(
                f"{place}.frames_indices is {metadata.frames_indices!r}; give a whole number per frame."
            )
    return metadata


def frame_times_seconds(metadata: VideoMetadata, num_frames: int) -> Float64Array:
    """Read the times of frames in memory, float64 [F], at 24 frames per second when the rate is unknown.

    frames_indices of the metadata are filled in when missing; FrameError for another number of times, or times that go
    back.
    """
    if metadata.frames_indices is None:
        metadata.frames_indices = list(range(num_frames))
    if len(metadata.frames_indices) != num_frames:
        raise FrameError(
            f"video_metadata has {len(metadata.frames_indices)} frames_indices for {num_frames} frames; "
            "give one index per frame."
        )
    times = metadata.timestamps if is_timed(metadata) else np.asarray(metadata.frames_indices) / ASSUMED_FPS
    times_seconds = np.asarray(times, dtype=np.float64)
    back = np.flatnonzero(np.diff(times_seconds) < 0)
    if len(back):
        raise FrameError(
            f"The time of frame {back[0] + 1} is {times_seconds[back[0] + 1]:.3f} s, before the "
            f"{times_seconds[back[0]]:.3f} s of the frame before it; sort frames by time."
        )
    return times_seconds


def sampled_metadata(metadata: VideoMetadata, indices: Int64Array) -> VideoMetadata:
    """Describe the frames that sampling left, int64 [F], in place.

    Times of its own are picked, else the indices stand for them, as in transformers.
    """
    chosen = indices.tolist()
    if isinstance(metadata, TimedMetadata):
        metadata.times_seconds = [metadata.times_seconds[index] for index in chosen]
        chosen = [metadata.frames_indices[index] for index in chosen]
    metadata.frames_indices = chosen
    return metadata


def picked_metadata(
    metadata: VideoMetadata, times_seconds: Float64Array, indices: Int64Array
) -> VideoMetadata:
    """Describe some of the frames at hand, int64 [k], whose times all are known, float64 [F]."""
    numbers = np.asarray(metadata.frames_indices)[indices]
    if not is_timed(metadata):
        metadata.frames_indices = numbers.tolist()
        return metadata
    times = times_seconds[indices]
    numbers, fps = _counted(numbers, float(metadata.fps or 0), times)
    return TimedMetadata(
        times_seconds=times.tolist(),
        total_num_frames=metadata.total_num_frames,
        fps=fps,
        duration=metadata.duration,
        frames_indices=numbers.tolist(),
    )


def time_notes(
    model_type: str, metadata: VideoMetadata, temporal_patch_size: int, *, stamped: bool = False
) -> list[str]:
    """Say, for the report, where the family cannot carry a video's times."""
    notes, family = [], family_of_type(model_type)
    timed, assumed = is_timed(metadata), ASSUMED_FPS if stamped else family.recipe.assumed_fps or ASSUMED_FPS
    if not timed and (stamped or family.reads_times):
        notes.append(f"no frame rate in video_metadata: {assumed:.0f} frames per second assumed")
    sampled_fps = metadata.sampled_fps if timed else assumed
    step = (family.time_ids_per_second or 0) * temporal_patch_size / sampled_fps
    if 0 < step < 1 and not stamped:
        notes.append(
            f"{sampled_fps:.1f} sampled frames per second are more than the whole-number time ids of "
            f"{model_type} can tell apart (they advance by {step:.2f} a tube): neighbouring tubes share an id"
        )
    return notes
