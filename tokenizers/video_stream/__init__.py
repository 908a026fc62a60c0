"""Videos as streams of time-stamped frames: files, frames in memory and live sources through one iterator."""

from framegate.tokenizers.video_stream.stream import VideoStream, open_video, probe

__all__ = ["VideoStream", "open_video", "probe"]
