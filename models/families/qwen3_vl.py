"""Qwen3-VL: a learned position embedding, features of several layers (DeepStack), and times in the prompt."""

from __future__ import annotations

from typing import Any

from framegate.models.families._shared import qwen3_recipe, tiny_deepstack, tiny_qwen
from framegate.models.family import Family, TinyRecipe, Values
from framegate.models.towers.packed import PackedTower


def tiny_qwen3(config: str, tokenizer: Any, *, vision: Values, text: Values) -> Any:
    """The configuration of a tiny Qwen3-VL, by the name of its class: settings that replace the tiny ones."""
    vision, text = tiny_deepstack() | vision, {"head_dim": 16} | text
    return tiny_qwen(config, tokenizer, vision=vision, text=text, rope={"mrope_interleaved": True})


def _tiny_config(tokenizer: Any, vision: Values, text: Values) -> Any:
    return tiny_qwen3("Qwen3VLConfig", tokenizer, vision=vision, text=text)


FAMILY = Family(
    model_type="qwen3_vl",
    model_class="Qwen3VLForConditionalGeneration",
    bind=PackedTower,
    recipe=qwen3_recipe("Qwen3VLProcessor"),
    # its processor puts the vision marks around every time step itself
    tiny=TinyRecipe(config=_tiny_config, video_mark="<|video_pad|>"),
    timestamps="text before every tube, native",
    writes_times=True,
    reads_times=True,
    merger_modules=("merger", "deepstack_merger_list"),
    video_size={"shortest_edge": 4096, "longest_edge": 25165824},
    learned_positions=True,
    serves_live=True,
    notes="DeepStack features are kept with the same cells; in anchored context moved cells give no key.",
)
