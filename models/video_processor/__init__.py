"""The processor side: a video processor that decodes and gates as it streams, without torchvision."""

from framegate.models.video_processor.attach import ProcessorAttachment, attach_processor, attached_processor
from framegate.models.video_processor.processor import GatedVideoProcessor, plan_for_processor
from framegate.models.video_processor.reading import stock_tower_view
from framegate.models.video_processor.shell import build_processor, load_processor, torchvision_found

__all__ = [
    "GatedVideoProcessor",
    "ProcessorAttachment",
    "attach_processor",
    "attached_processor",
    "build_processor",
    "load_processor",
    "plan_for_processor",
    "stock_tower_view",
    "torchvision_found",
]
