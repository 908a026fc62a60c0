"""What transformers does not document is named in one file of models, and is there in the transformers that runs."""

import ast
from pathlib import Path

import pytest
import torch
import transformers
from transformers.processing_utils import ProcessorMixin

from framegate.models import transformers_private as private
from framegate.models.tiny import tiny_model

pytestmark = pytest.mark.floor

MODELS = Path(__file__).parents[2] / "models"
PRIVATE = {
    "_attn_implementation",
    "_loss_function",
    "_name_or_path",
    "_process_videos",
    "_raise_exceptions_for_connection_errors",
    "_raise_exceptions_for_missing_entries",
    "check_argument_for_proper_class",
    "cu_window_seqlens",
    "get_rope_index",
    "interp_indices",
    "interp_weights",
    "mm_encoder_outputs",
    "num_grid_per_side",
    "prepare_inputs_layout",
    "replace_video_token",
    "rope_deltas",
    "rotary_pos_emb",
    "transformers.vision_utils",
    "window_index",
    "window_size",
}


def names_in(path):
    """Attributes, keyword arguments, imported modules and texts of a file's code; what is only told in prose is not."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.keyword):
            yield node.arg
        elif isinstance(node, ast.ImportFrom):
            yield node.module
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_no_other_file_of_models_names_them():
    own = MODELS / "transformers_private.py"
    # settings of tiny models' public configurations
    settings = {MODELS / "families" / "_shared.py": {"window_size"}}
    found = {
        (path.relative_to(MODELS).as_posix(), name)
        for path in MODELS.rglob("*.py")
        if path != own
        for name in PRIVATE & set(names_in(path)) - settings.get(path, set())
    }
    assert found == set()
    assert set(names_in(own)) >= PRIVATE - {"cu_window_seqlens", "interp_indices", "interp_weights"}


def test_processors_have_the_steps_that_are_hooked():
    for name in (private.LAYOUT_METHOD, private.VIDEOS_METHOD, private.PLACEHOLDER_METHOD):
        assert hasattr(ProcessorMixin, name)


def test_rope_index_leaves_out_what_a_model_does_not_know():
    model = tiny_model("qwen2_vl")
    ids = torch.tensor([[70, 71, 72]])
    call = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "never_heard_of": 1}
    call["mm_token_type_ids"] = torch.zeros_like(ids)
    assert private.rope_index(model.base_model, call)[0].tolist() == [[0, 1, 2]]


def test_a_copy_of_a_configuration_attends_otherwise():
    config = tiny_model("qwen2_vl").base_model.visual.config
    own = private.with_attention(config, private.OWN_ATTENTION)
    assert private.attention_of(own) == private.OWN_ATTENTION
    assert private.attention_of(config) == "sdpa"
    assert private.packs_documents(own)
    assert not private.packs_documents(config)


def test_rows_of_a_cache():
    cache = transformers.DynamicCache()
    cache.update(torch.zeros(2, 1, 3, 4), torch.zeros(2, 1, 3, 4), 0)
    assert private.cached_rows(cache) == 2
