"""Putting a front end on and taking it off: instances alone, in any order with other wrappers."""

import copy
import gc
import time

import pytest
import torch
from gated import random_keeps, with_keeps
from tiny import FAMILIES, moving_frames, stock_inputs, stock_model, stock_processor

import framegate
from framegate.errors import AttachmentError, ConfigError, UnsupportedModelError
from framegate.models.tiny import tiny_pair

pytestmark = pytest.mark.floor

NEW = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


def gated_inputs(family, ratio=0.4):
    inputs = stock_inputs(stock_processor(family), [[moving_frames()]], ["What moves?"])
    return with_keeps(inputs, random_keeps(inputs, ratio))


def rows_into_the_tower(model):
    """A list that grows by the rows of each pass through the tower's first block."""
    rows = []
    framegate.models.families.unwrap(model).model.visual.blocks[0].register_forward_pre_hook(
        lambda _, args, kwargs: rows.append(len(args[0] if args else kwargs["hidden_states"])),
        with_kwargs=True,
    )
    return rows


def test_detach_leaves_no_trace(family):
    model = stock_model(family)
    modules = list(model.modules())
    before = [{key: id(value) for key, value in vars(module).items()} for module in modules]
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules]
    for options in ({}, {"context": "anchored", "motion": "none"}):
        front_end = framegate.attach(model, None, "gate", **options)
        assert front_end.is_attached
        assert framegate.front_end_of(model) is front_end
        front_end.detach()
        front_end.detach()
        assert not front_end.is_attached
        assert framegate.front_end_of(model) is None
        assert [{key: id(value) for key, value in vars(m).items()} for m in modules] == before
        assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules] == hooks


def test_attach_twice_is_refused_and_harmless(family):
    model = stock_model(family)
    front_end = framegate.attach(model)
    with pytest.raises(AttachmentError, match="detach"):
        framegate.attach(model, None, "dense")
    assert framegate.front_end_of(model) is front_end
    assert front_end.config.preset == "framegate"


def test_unsupported_models_are_refused_with_the_list():
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=32, **sizes))
    with pytest.raises(UnsupportedModelError, match=r"LlamaForCausalLM.*Glm4v.*InternVL.*Qwen2VL.*Qwen3VL"):
        framegate.attach(model)


@pytest.mark.parametrize("given", ["Qwen/Qwen2.5-VL-7B-Instruct", object()], ids=["a name", "no model"])
def test_what_is_no_model_is_told_how_to_load_one(given):
    told = given if isinstance(given, str) else "object"
    with pytest.raises(UnsupportedModelError, match=rf"'{told}' is none\. framegate\.from_pretrained"):
        framegate.attach(given)


def test_a_processor_that_does_not_fit_leaves_nothing_half_attached(family):
    model = stock_model(family)
    with pytest.raises(AttachmentError):
        framegate.attach(model, object())
    assert framegate.front_end_of(model) is None
    framegate.attach(model).detach()


def test_the_context_manager_detaches_on_errors(family):
    model = stock_model(family)
    with pytest.raises(RuntimeError), framegate.attach(model):
        raise RuntimeError
    assert framegate.front_end_of(model) is None


@torch.no_grad()
def test_a_second_model_of_the_same_class_and_config_stays_stock(family):
    first = stock_model(family)
    second = type(first)(first.config).eval()
    inputs = stock_inputs(stock_processor(family), [[moving_frames()]], ["What moves?"])
    want = second(**inputs).logits
    framegate.attach(first, None, "gate", context="anchored", motion="none")
    assert second.model.visual.config._attn_implementation == "sdpa"
    assert torch.equal(second(**inputs).logits, want)
    assert "generate" not in vars(second)


@torch.no_grad()
def test_deepcopy_compresses_on_its_own(family):
    model, gated = stock_model(family), gated_inputs(family)
    original = framegate.attach(model)
    want = model.generate(**gated, **NEW)
    twin = copy.deepcopy(model)
    copied = framegate.front_end_of(twin)
    assert copied is not original
    assert copied.model is twin
    original.detach()
    rows, own = rows_into_the_tower(model), rows_into_the_tower(twin)
    assert torch.equal(twin.generate(**gated, **NEW), want)
    assert rows == []
    assert own == [len(gated["pixel_values_videos"])]
    copied.detach()
    assert framegate.front_end_of(twin) is None
    assert not twin.base_model._forward_pre_hooks


@pytest.mark.parametrize("attach_first", [True, False], ids=["attach-then-hook", "hook-then-attach"])
@torch.no_grad()
def test_accelerate_hooks_in_both_orders(family, attach_first):
    from accelerate.hooks import ModelHook, add_hook_to_module, remove_hook_from_module

    class Counting(ModelHook):
        calls = 0

        def pre_forward(self, module, *args, **kwargs):
            self.calls += 1
            return args, kwargs

    model, gated, hook = stock_model(family), gated_inputs(family), Counting()
    with framegate.attach(model):
        want = model(**gated).logits
    if attach_first:
        front_end = framegate.attach(model)
    for module in (model, model.model, model.model.visual):
        add_hook_to_module(module, hook)
    if not attach_first:
        front_end = framegate.attach(model)
    assert torch.equal(model(**gated).logits, want)
    assert hook.calls == 3
    for module in (model, model.model, model.model.visual):
        remove_hook_from_module(module)
    assert torch.equal(model(**gated).logits, want)
    front_end.detach()
    assert "generate" not in vars(model)


@pytest.mark.parametrize("attach_first", [True, False], ids=["attach-then-peft", "peft-then-attach"])
def test_peft_in_both_orders(family, attach_first):
    from peft import LoraConfig, get_peft_model

    model, gated = stock_model(family), gated_inputs(family)
    lora = LoraConfig(target_modules=["q_proj", "v_proj"], r=2, init_lora_weights=False)
    if attach_first:
        framegate.attach(model)
    wrapped = get_peft_model(model, lora)
    if not attach_first:
        framegate.attach(wrapped)
    rows = rows_into_the_tower(model)
    assert framegate.front_end_of(wrapped) is framegate.front_end_of(model)
    ids = wrapped.generate(**gated, **NEW)
    assert torch.equal(ids[:, : gated["input_ids"].shape[1]], gated["input_ids"])
    wrapped.train()
    wrapped(**gated, labels=gated["input_ids"]).loss.backward()
    assert rows == [len(gated["pixel_values_videos"])] * 2
    grads = [p.grad.abs().sum() for name, p in wrapped.named_parameters() if "lora_" in name]
    assert all(grad > 0 for grad in grads)
    assert grads
    framegate.front_end_of(wrapped).detach()
    assert framegate.front_end_of(model) is None


@torch.no_grad()
def test_anchored_context_through_attach(family):
    model, gated = stock_model(family), gated_inputs(family, 0.3)
    with framegate.attach(model, None, "gate", motion="none"):
        kept = model(**gated).logits
    with framegate.attach(model, None, "gate", motion="none", context="anchored"):
        anchored = model(**gated).logits
        assert torch.isfinite(anchored).all()
        assert not torch.allclose(anchored, kept, atol=1e-3)
        model.set_attn_implementation("eager")
        torch.testing.assert_close(model(**gated).logits, kept, rtol=0, atol=1e-3)
        assert "'eager'" in str(framegate.front_end_of(model).report.notes)


@torch.no_grad()
def test_anchored_context_leaves_moved_cells_of_learned_positions_out():
    model, gated = stock_model("qwen3_vl"), gated_inputs("qwen3_vl", 0.3)
    with framegate.attach(model, None, "gate", context="anchored"):
        still = model(**gated).logits
    anchor = gated["framegate_plan"][:, 0]
    own = torch.cat([torch.arange(t).repeat_interleave(h * w // 4) for t, h, w in gated["video_grid_thw"]])
    plan = gated["framegate_plan"].clone()
    plan[:, 3:5] = torch.where(anchor == own, 0.0, 1.0).view(torch.int32)[:, None]
    moved = gated | {"framegate_plan": plan}
    with framegate.attach(model, None, "gate"):
        kept = model(**gated).logits
    with framegate.attach(model, None, "gate", context="anchored") as front_end:
        none_seen = model(**moved).logits
        assert "that moved give none" in str(front_end.report.notes)
    torch.testing.assert_close(none_seen, kept, rtol=0, atol=1e-3)
    assert not torch.allclose(still, kept, atol=1e-3)


def test_settings_are_checked_before_anything_is_touched(family):
    model = stock_model(family)
    for options, hint in (({"keep_ration": 0.5}, "keep_ratio"), ({"keep_ratio": 1.5}, r"\(0, 1\]")):
        with pytest.raises(ConfigError, match=hint):
            framegate.attach(model, None, "gate", **options)
    with pytest.raises(ConfigError, match="Did you mean 'gate'"):
        framegate.attach(model, None, "gat")
    assert framegate.front_end_of(model) is None


def test_the_report_before_and_after_a_call(family):
    model, gated = stock_model(family), gated_inputs(family)
    front_end = framegate.attach(model)
    assert "No call yet" in str(front_end.report)
    model.generate(**gated, **NEW)
    report = front_end.report
    assert report.dense_tokens == len(gated["framegate_plan"])
    assert report.kept_tokens * 4 == len(gated["pixel_values_videos"])
    assert report.stage("tower").patches_in == len(gated["pixel_values_videos"])
    assert report.stage("generate").milliseconds > 0
    assert '"keep_ratio"' in report.to_json()
    model.generate(input_ids=torch.tensor([[70, 71]]), **NEW)
    assert "No video" in str(front_end.report)


@pytest.mark.parametrize("preset", ["dense", "gate"])
def test_the_time_of_generate_is_beside_the_towers(preset):
    model, processor = stock_model("qwen2_5_vl"), stock_processor("qwen2_5_vl")
    inputs = stock_inputs(processor, [[moving_frames()]], ["What moves?"])
    model.model.visual.blocks[0].register_forward_pre_hook(lambda *_: time.sleep(0.5))
    with framegate.attach(model, None, preset) as front_end:
        started = time.perf_counter()
        model.generate(**inputs, **NEW)
        elapsed_ms = (time.perf_counter() - started) * 1000
    tower_ms, generate_ms = (front_end.report.stage(name).milliseconds for name in ("tower", "generate"))
    assert tower_ms >= 500
    assert 0 < generate_ms <= elapsed_ms - tower_ms


def test_attaching_again_and_again_leaves_nothing_behind():
    model, processor = tiny_pair("qwen2_5_vl")

    def left():
        gc.collect()
        hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())
        return hooks, len(list(model.modules())), set(vars(model)), len(gc.get_objects())

    def turns(count):
        for _ in range(count):
            framegate.attach(model, processor).detach()

    turns(3)
    before = left()
    turns(12)
    after = left()
    assert after[:3] == before[:3]
    assert after[3] - before[3] < 6
