"""MiniCPM-V 4.7: the tower of 4.6, and a canvas on which its language model places frames."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from framegate.models.families._minicpm import (
    MiniCPMTower,
    mark_ids,
    minicpm_recipe,
    minicpm_tiny,
    tiny_minicpm,
)
from framegate.models.family import Family, Values
from framegate.models.prompt import full_positions


class CanvasTower(MiniCPMTower):
    """MiniCPM-V 4.7's tower, of one model, whose tokens have places on three axes."""

    def positions(self, call: dict[str, Any], attention_mask: Tensor) -> Tensor:
        """Positions of the caller's prompt on the three vision axes, int64 [3, B, S]."""
        return full_positions(self.inner, call, attention_mask, types=self.types(call), stamped=False)


def _tiny_config(tokenizer: Any, vision: Values, text: Values) -> Any:
    rope = {"mrope_section": [2, 3, 3], "mrope_interleaved": True, "partial_rotary_factor": 0.5}
    return tiny_minicpm(
        "MiniCPMV4_7Config", tokenizer, vision=vision, text=text, rope=rope, more=mark_ids(tokenizer)
    )


FAMILY = Family(
    model_type="minicpmv4_7",
    model_class="MiniCPMV4_7ForConditionalGeneration",
    tower="reordered",
    bind=CanvasTower,
    recipe=minicpm_recipe("MiniCPMV4_7Processor"),
    tiny=minicpm_tiny(_tiny_config),
    lowest_transformers="5.24",
    positions="M-RoPE",
    takes_stamps=False,
    tower_modules=("vision_tower",),
    merger_modules=("merger",),
    learned_positions=True,
    contexts=("kept",),
    notes="A cell is 4 x 4 patches. Its prompt holds no times. Frames that would be cut into slices are refused: set "
    "slice_mode=False.",
)
