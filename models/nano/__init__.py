"""framegate/nano: a small real video LVLM of a stock transformers class, trained here on generated video."""

from framegate.models.nano.build import nano_model, nano_processor

__all__ = ["nano_model", "nano_processor"]
