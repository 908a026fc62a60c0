"""Per family: the stock processor class, the image processor that needs no torchvision, and what else it is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, NamedTuple

from framegate.models.video_processor.settings import video_settings

Values = dict[str, Any]


class StockParts(NamedTuple):
    """What a family's processor is put together from.

    Args:
        processor: name of the class in transformers.
        image_processor: module under transformers.models and class, of the one that works without torchvision.
        settings: arguments of the processor's own that its files hold.
        built: settings of the video processor to arguments of image processor and processor, for a processor that is
            built by defaults.
    """

    processor: str
    image_processor: tuple[str, str]
    settings: tuple[str, ...]
    built: Callable[[Mapping[str, Any]], tuple[Values, Values]]

    def image_processor_class(self) -> Any:
        """The class, imported when it is needed."""
        module, name = self.image_processor
        return getattr(import_module(f"transformers.models.{module}"), name)


def _built_qwen(values: Mapping[str, Any]) -> tuple[Values, Values]:
    return {"patch_size": values["patch_size"]}, {}


def _built_llava_onevision(values: Mapping[str, Any]) -> tuple[Values, Values]:
    layout = video_settings("llava_onevision", values).layout
    side_px = values["size"]["height"]
    shared = {name: values[name] for name in ("size", "image_mean", "image_std")}
    # the class's own sizes, one to six tiles along a side, for tiles of another size
    tiles = [[side_px * rows, side_px * columns] for rows in range(1, 7) for columns in range(1, 7)]
    patches = (side_px // layout.patch_size_px) ** 2
    own = {"num_image_tokens": patches, "vision_feature_select_strategy": "full"}
    return shared | {"image_grid_pinpoints": tiles}, own


_QWEN_IMAGES = ("qwen2_vl.image_processing_pil_qwen2_vl", "Qwen2VLImageProcessorPil")
STOCK_PARTS: dict[str, StockParts] = {
    "qwen2_vl": StockParts("Qwen2VLProcessor", _QWEN_IMAGES, (), _built_qwen),
    "qwen2_5_vl": StockParts("Qwen2_5_VLProcessor", _QWEN_IMAGES, (), _built_qwen),
    "qwen3_vl": StockParts("Qwen3VLProcessor", _QWEN_IMAGES, (), _built_qwen),
    "llava_onevision": StockParts(
        "LlavaOnevisionProcessor",
        ("llava_onevision.image_processing_pil_llava_onevision", "LlavaOnevisionImageProcessorPil"),
        (
            "num_image_tokens",
            "vision_feature_select_strategy",
            "vision_aspect_ratio",
            "image_token",
            "video_token",
        ),
        _built_llava_onevision,
    ),
}
