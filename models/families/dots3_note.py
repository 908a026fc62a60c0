"""Dots 3 Note: a packed tower of single frames with experts, before a model that chooses keys, and hears."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from framegate.models.families._shared import built_for_patches, qwen3_recipe, tiny_text
from framegate.models.family import Family, TinyRecipe, Values
from framegate.models.towers.one_axis import OneAxisTower

_SOUND = "Dots3NoteFeatureExtractor"
_TOKENS = {"image_token_id": "<|imgpad|>", "video_token_id": "<|video_pad|>"}
_TOKENS |= {"audio_token_id": "<|audio_comp_pad|>"}


def _built(values: Mapping[str, Any]) -> tuple[Values, Values]:
    import transformers

    images, own = built_for_patches(values)
    images |= {"temporal_patch_size": values["temporal_patch_size"]}
    return images, own | {"feature_extractor": getattr(transformers, _SOUND)()}


class Dots3NoteTower(OneAxisTower):
    """The vision tower of Dots 3 Note, of one model; sound stays."""

    consumed = ("pixel_values", "image_grid_thw", "video_grid_thw", "mm_token_type_ids")
    tube_frames = 1


def _tiny_config(tokenizer: Any, vision: Values, text: Values) -> Any:
    from transformers import Dots3NoteConfig

    width = 64
    tower: Values = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "moe_intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "mlp_layer_types": ["dense", "sparse"],
        "num_local_experts": 4,
        "adapter_in_dim": 32,
        "adapter_out_dim": width,
    }
    heads: Values = {
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "q_lora_rank": 32,
        "kv_lora_rank": 32,
    }
    heads |= {"qk_nope_head_dim": 8, "v_head_dim": 16, "head_dim": 16}
    sliding: Values = {f"swa_{name}": value for name, value in heads.items()} | {"sliding_window": 4096}
    experts: Values = {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
    experts |= {"n_shared_experts": 1, "shared_experts_intermediate_size": 32}
    # many heads, for a score of none of them is a tie
    chosen: Values = {"index_topk": 32, "index_head_dim": 16, "index_n_heads": 8, "qk_rope_head_dim": 8}
    layers: Values = {"layer_types": ["sliding_attention", "indexed_attention", "indexed_attention"]}
    sound: Values = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    sound |= {"downsample_hidden_size": 8, "adapter_input_size": 32, "adapter_out_dim": width}
    own = heads | sliding | experts | chosen | layers
    return Dots3NoteConfig(
        text_config=tiny_text(tokenizer, own | text),
        vision_config=tower | vision,
        audio_config=sound,
        **{name: tokenizer.convert_tokens_to_ids(token) for name, token in _TOKENS.items()},
    )


_RECIPE = qwen3_recipe("Dots3NoteProcessor")

FAMILY = Family(
    model_type="dots3_note",
    model_class="Dots3NoteForConditionalGeneration",
    bind=Dots3NoteTower,
    recipe=replace(
        _RECIPE,
        built=_built,
        # the tower reads no other patches than these, whatever the class of its video processor starts from
        video_values={**_RECIPE.video_values, "patch_size": 14, "temporal_patch_size": 1},
        feature_extractor=_SOUND,
    ),
    tiny=TinyRecipe(
        config=_tiny_config,
        tokens=("<|imgpad|>", "<|audio_comp_pad|>"),
        video_mark="<|video_pad|>",
        image_mark="<|imgpad|>",
    ),
    lowest_transformers="5.24",
    positions="1-D RoPE",
    timestamps="stamps after every frame (framegate)",
    tower_modules=("vision_tower",),
    notes="Keys are chosen among the kept tokens, as a mask over the others would choose them; sliding windows hold "
    "kept tokens alone, and so reach further back.",
)
