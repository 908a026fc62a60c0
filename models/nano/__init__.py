"""framegate/nano: a small real video LVLM of a stock transformers class, trained here on generated video."""

from framegate.models.nano.shipped import NANO, shipped_folder

__all__ = ["NANO", "shipped_folder"]
