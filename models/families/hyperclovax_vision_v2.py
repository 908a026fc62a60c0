"""HyperCLOVA X SEED (Vision V2): the tower of Qwen2.5-VL and a projector, before a model of one position axis."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from framegate.models.cell_plan import CellPlan
from framegate.models.families._shared import qwen2_recipe, qwen_token_ids, tiny_text, tiny_windows
from framegate.models.families.exaone4_5 import FAMILY as EXAONE4_5
from framegate.models.family import TinyRecipe, Values
from framegate.models.towers.one_axis import OneAxisTower


class HyperClovaXTower(OneAxisTower):
    """The tower and projector of HyperCLOVA X, of one model."""

    consumed = ("pixel_values", "image_grid_thw", "video_grid_thw", "mm_token_type_ids")

    def run(self, rows: Tensor, grid_thw: Tensor, cells: CellPlan, kwargs: dict[str, Any]) -> Any:
        """Call the tower and what stands between it and the language model."""
        out = super().run(rows, grid_thw, cells, kwargs)
        out.pooler_output = self.inner.projector(out.pooler_output)
        return out


def _tiny_config(tokenizer: Any, vision: Values, text: Values) -> Any:
    from transformers import HyperCLOVAXVisionV2Config

    ids = qwen_token_ids(tokenizer)
    return HyperCLOVAXVisionV2Config(
        text_config=tiny_text(tokenizer, {"model_type": "hyperclovax"} | text),
        vision_config={"model_type": "qwen2_5_vl_vision"} | tiny_windows() | vision,
        image_token_id=ids["image_token_id"],
        video_token_id=ids["video_token_id"],
    )


FAMILY = replace(
    EXAONE4_5,
    model_type="hyperclovax_vision_v2",
    model_class="HyperCLOVAXVisionV2ForConditionalGeneration",
    bind=HyperClovaXTower,
    recipe=qwen2_recipe("HyperCLOVAXVisionV2Processor"),
    tiny=TinyRecipe(config=_tiny_config),
    tower_modules=("vision_model",),
    merger_modules=("projector",),
    notes="Window attention: windows are recounted for the kept cells.",
)
