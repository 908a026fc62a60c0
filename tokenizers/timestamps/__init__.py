"""Time as text: a stamp after every tube, from the container's time stamps."""

from framegate.tokenizers.timestamps.config import TimestampsConfig
from framegate.tokenizers.timestamps.stamps import format_stamp, interleave, tube_times_seconds

__all__ = ["TimestampsConfig", "format_stamp", "interleave", "tube_times_seconds"]
