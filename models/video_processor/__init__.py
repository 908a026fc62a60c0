"""The processor side: a video processor that decodes and gates as it streams, without torchvision."""

from framegate.models.video_processor.patches import PatchLayout, patchify, unpatchify

__all__ = ["PatchLayout", "patchify", "unpatchify"]
