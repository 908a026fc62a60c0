"""What `attach` puts on a model instance, and takes off again."""

from framegate.models.attachment.attach import attach_front_end, find_front_end
from framegate.models.attachment.front_end import FrontEnd

__all__ = ["FrontEnd", "attach_front_end", "find_front_end"]
