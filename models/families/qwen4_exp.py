"""Qwen4-Exp: Qwen3.5-MoE with chosen keys in full attention, and embeddings of runs of tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from framegate.models.families._shared import tiny_experts
from framegate.models.families.qwen3_5 import FAMILY as QWEN3_5
from framegate.models.families.qwen3_5 import tiny_qwen3_5
from framegate.models.family import Values


def _tiny_config(tokenizer: Any, vision: Values, text: Values) -> Any:
    experts = tiny_experts() | {"shared_expert_intermediate_size": 32}
    streams = {"hc_count": 2, "hc_lowrank": 8}
    runs = {"ple_layer_ids": [1], "heads_per_ngram": 2, "ngram_vocab_size_base": 64, "split_ngram_parts": 2}
    keys = {"indexer_n_heads": 2, "indexer_kv_heads": 1, "indexer_head_dim": 16}
    budget = {"indexer_budget": 32, "indexer_compress_ratio": 4}
    layers = {"layer_types": ["linear_attention", "linear_attention", "indexed_attention"]}
    own = experts | streams | runs | keys | budget | layers
    return tiny_qwen3_5("Qwen4ExpConfig", tokenizer, vision=vision, text=own | text)


FAMILY = replace(
    QWEN3_5,
    model_type="qwen4_exp",
    model_class="Qwen4ExpForConditionalGeneration",
    tiny=replace(QWEN3_5.tiny, config=_tiny_config),
    notes="As qwen3_5; runs of tokens, and the blocks of which keys are chosen, are those of the kept tokens.",
)
