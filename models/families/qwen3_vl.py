"""Qwen3-VL: a learned position embedding, features of several layers (DeepStack), and times in the prompt."""

from __future__ import annotations

from typing import Any

from framegate.models.families._qwen import qwen3_recipe, qwen_token_ids, tiny_text
from framegate.models.family import Family, TinyRecipe, Values
from framegate.models.towers.packed import PackedTower


def _tiny_config(tokenizer: Any, vision: Values, text: Values) -> Any:
    from transformers import Qwen3VLConfig

    tower = {"depth": 4, "hidden_size": 32, "out_hidden_size": 64, "num_heads": 2, "intermediate_size": 64}
    deepstack = {"patch_size": 16, "num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1, 2]}
    shared = {"spatial_merge_size": 2, "temporal_patch_size": 2}
    rope = {"mrope_section": [2, 3, 3], "mrope_interleaved": True}
    return Qwen3VLConfig(
        text_config=tiny_text(tokenizer, {"head_dim": 16} | text, rope=rope),
        vision_config=tower | deepstack | shared | vision,
        **qwen_token_ids(tokenizer),
    )


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
    notes="DeepStack features are kept with the same cells; in anchored context moved cells give no key.",
)
