"""Qwen2.5-Omni's thinker: Qwen2.5-VL that hears as well."""

from __future__ import annotations

from typing import Any

from framegate.models.families._omni import (
    OMNI_TRANSFORMERS,
    OmniTower,
    omni_recipe,
    omni_tiny,
    tiny_thinker,
)
from framegate.models.families._shared import tiny_windows
from framegate.models.family import Family, Values


def _tiny_config(tokenizer: Any, vision: Values, text: Values) -> Any:
    return tiny_thinker(
        "Qwen2_5OmniThinkerConfig",
        tokenizer,
        vision=tiny_windows() | vision,
        audio={"n_window": 100},
        text=text,
        rope={},
    )


FAMILY = Family(
    model_type="qwen2_5_omni_thinker",
    model_class="Qwen2_5OmniThinkerForConditionalGeneration",
    bind=OmniTower,
    recipe=omni_recipe("Qwen2_5OmniProcessor", assumed_fps=2.0),
    tiny=omni_tiny(_tiny_config),
    lowest_transformers=OMNI_TRANSFORMERS,
    timestamps="stamps after every tube (framegate); else M-RoPE time axis (video_second_per_grid)",
    reads_times=True,
    # position_id_per_seconds of every released checkpoint
    time_ids_per_second=25,
    notes="Attach to `model.thinker` of the whole model, whose text it is; what the talker says was not tried. Sound "
    "stays whole, also where it is read with its video.",
)
