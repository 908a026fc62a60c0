"""A live session: what a camera shows, as tokens in bounded memory, and questions about it at any time."""

from framegate.models.live.memory import RollingMemory, StoredTube
from framegate.models.live.session import LiveSession
from framegate.models.live.stored import STORED_KEY, StoredVideo

__all__ = ["STORED_KEY", "LiveSession", "RollingMemory", "StoredTube", "StoredVideo"]
