"""The only reader: files, bytes, frames in memory and live sources as streams of time-stamped frames, and as clips."""

from framegate.tokenizers.clip.clip import Clip
from framegate.tokenizers.clip.opening import indexed, open_video, probe
from framegate.tokenizers.clip.stream import VideoStream

__all__ = ["Clip", "VideoStream", "indexed", "open_video", "probe"]
