"""PEFT's own files: an adapter that was saved comes back, whichever was put on first."""

import warnings

import pytest
import torch

import framegate
from framegate.models.tiny import tiny_pair

pytestmark = pytest.mark.clients
peft = pytest.importorskip("peft")

LORA = {"target_modules": ["q_proj", "v_proj"], "r": 2, "init_lora_weights": False}


def inputs_of(processor, clip):
    block = {"type": "video", "path": str(clip)}
    return processor.apply_chat_template(
        [{"role": "user", "content": [block, {"type": "text", "text": "What moves?"}]}],
        tokenize=True,
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
    )


@pytest.mark.parametrize("saves_attached_first", [True, False])
@pytest.mark.parametrize("loads_attached_first", [True, False])
@torch.no_grad()
def test_an_adapter_comes_back_in_both_orders(saves_attached_first, loads_attached_first, clip, tmp_path):
    def wrapped(attached_first, wrap):
        model, processor = tiny_pair("qwen2_5_vl")
        if attached_first:
            framegate.attach(model, processor, keep_ratio=0.5)
        model = wrap(model)
        if not attached_first:
            framegate.attach(model, processor, keep_ratio=0.5)
        return model, processor

    model, processor = wrapped(
        saves_attached_first, lambda m: peft.get_peft_model(m, peft.LoraConfig(**LORA))
    )
    inputs = inputs_of(processor, clip)
    want = model(**inputs).logits
    model.save_pretrained(tmp_path)
    again, processor = wrapped(loads_attached_first, lambda m: peft.PeftModel.from_pretrained(m, tmp_path))
    inputs = inputs_of(processor, clip)
    assert torch.equal(again(**inputs).logits, want)
    assert framegate.front_end_of(again).report.keep_ratio == pytest.approx(0.5)
    # nothing of the front end stands among the adapter's weights
    merged = again.merge_and_unload()
    assert torch.allclose(merged(**inputs).logits, want, atol=1e-4)
    assert framegate.front_end_of(merged).report.keep_ratio == pytest.approx(0.5)


def test_what_the_front_end_learned_is_kept_in_the_adapter_where_peft_is_told_to(clip, tmp_path):
    def wrapped(wrap):
        model, processor = tiny_pair("qwen2_5_vl")
        front_end = framegate.attach(model, processor, "kffocus", keep_ratio=0.5, keyframe_source="content")
        return wrap(model), processor, front_end

    settings = peft.LoraConfig(**LORA, modules_to_save=["spatiotemporal"])
    model, processor, front_end = wrapped(lambda m: peft.get_peft_model(m, settings))
    inputs = inputs_of(processor, clip)
    model.train()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="the front end")
        model(**inputs, labels=inputs["input_ids"]).loss.backward()
    model.eval()
    assert front_end.module.time_gate.grad is not None
    front_end.module.time_gate.data.fill_(0.5)
    with torch.no_grad():
        want = model(**inputs).logits
        model.save_pretrained(tmp_path / "adapter")
        front_end.save_pretrained(tmp_path / "alone")
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="The weights that were loaded")
            again, _, loaded = wrapped(lambda m: peft.PeftModel.from_pretrained(m, tmp_path / "adapter"))
        assert loaded.module.time_gate == 0.5
        assert torch.equal(again(**inputs).logits, want)
        again.merge_and_unload()
    assert loaded.module.time_gate == 0.5
    alone = framegate.attach(tiny_pair("qwen2_5_vl")[0], None, tmp_path / "alone")
    assert alone.module.time_gate == 0.5


KFFOCUS = {"keep_ratio": 0.5, "keyframe_source": "content"}


def kffocus():
    model, processor = tiny_pair("qwen2_5_vl")
    return model, processor, framegate.attach(model, processor, "kffocus", **KFFOCUS)


def test_an_adapter_that_does_not_know_the_front_end_leaves_it_as_it_was():
    model, _, front_end = kffocus()
    wrapped = peft.get_peft_model(model, peft.LoraConfig(**LORA, modules_to_save=["spatiotemporal"]))
    front_end.module.time_gate.data.fill_(0.5)
    wrapped.add_adapter("two", peft.LoraConfig(**LORA))
    wrapped.set_adapter("two")
    assert front_end.module.time_gate == 0
    assert front_end.state_dict()["spatiotemporal.time_gate"] == 0
    wrapped.set_adapter("default")
    assert front_end.module.time_gate == 0.5


def test_loading_a_learned_prompt_says_nothing_of_the_front_end(tmp_path):
    model, _, _ = kffocus()
    settings = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    peft.get_peft_model(model, settings).save_pretrained(tmp_path)
    model, _, _ = kffocus()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="The weights that were loaded")
        peft.PeftModel.from_pretrained(model, tmp_path)


def test_adapters_on_the_model_itself_keep_the_front_end(tmp_path):
    # what transformers' add_adapter asks for
    pytest.importorskip("peft", minversion="0.22")
    model, processor, front_end = kffocus()
    model.add_adapter(peft.LoraConfig(**LORA, modules_to_save=["spatiotemporal"]))
    front_end.module.time_gate.data.fill_(0.5)
    model.save_pretrained(tmp_path)
    again = framegate.attach(tiny_pair("qwen2_5_vl")[0], None, tmp_path)
    assert again.module.time_gate == 0.5
