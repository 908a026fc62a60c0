"""The processor side: a video processor that decodes and gates as it streams, without torchvision."""

from framegate.models.video_processor.attach import ProcessorAttachment, attach_processor
from framegate.models.video_processor.notes import VideoNotes
from framegate.models.video_processor.processor import GatedVideoProcessor
from framegate.models.video_processor.resize import stock_geometry
from framegate.models.video_processor.shell import build_processor, load_processor, torchvision_found

__all__ = [
    "GatedVideoProcessor",
    "ProcessorAttachment",
    "VideoNotes",
    "attach_processor",
    "build_processor",
    "load_processor",
    "stock_geometry",
    "torchvision_found",
]
