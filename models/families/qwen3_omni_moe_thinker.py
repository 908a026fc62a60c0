"""Qwen3-Omni's thinker: Qwen3-VL-MoE that hears as well, and has seconds on the position axis, not in the prompt."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from framegate.models.families._omni import (
    OMNI_TRANSFORMERS,
    OmniTower,
    omni_recipe,
    omni_tiny,
    tiny_thinker,
)
from framegate.models.families._shared import HALF, tiny_deepstack, tiny_experts
from framegate.models.family import Family, Values


def _tiny_config(tokenizer: Any, vision: Values, text: Values) -> Any:
    return tiny_thinker(
        "Qwen3OmniMoeThinkerConfig",
        tokenizer,
        vision=tiny_deepstack() | vision,
        audio={"n_window": 50, "downsample_hidden_size": 16},
        text=tiny_experts() | text,
        rope={"mrope_interleaved": True},
    )


_RECIPE = omni_recipe("Qwen3OmniMoeProcessor", assumed_fps=1.0)
_SIZE = {"shortest_edge": 128 * 32 * 32, "longest_edge": 768 * 32 * 32}
_VIDEO = {"patch_size": 16, "size": _SIZE, "image_mean": list(HALF), "image_std": list(HALF)}

FAMILY = Family(
    model_type="qwen3_omni_moe_thinker",
    model_class="Qwen3OmniMoeThinkerForConditionalGeneration",
    bind=OmniTower,
    recipe=replace(_RECIPE, video_values=dict(_RECIPE.video_values) | _VIDEO),
    tiny=omni_tiny(_tiny_config),
    lowest_transformers=OMNI_TRANSFORMERS,
    timestamps="stamps after every tube (framegate); else M-RoPE time axis (video_second_per_grid)",
    reads_times=True,
    # position_id_per_seconds of every released checkpoint
    time_ids_per_second=13,
    merger_modules=("merger_list", "merger"),
    learned_positions=True,
    notes="As qwen2_5_omni_thinker; DeepStack features are kept with the same cells.",
)
