"""LLaVA-OneVision through a front end: what is refused, copies, wrappers, and taking it off."""

import copy
import io

import numpy as np
import pytest
import torch
from noted import packed
from tiny import moving_frames
from tiny_llava import (
    llava_batch,
    llava_inputs,
    llava_model,
    llava_processor,
    random_keeps,
    stock_call,
    tower_rows,
    with_keeps,
)

import framegate
from framegate.errors import (
    AttachmentError,
    FrameError,
    PlaceholderError,
    PlanError,
    UnsupportedModelError,
)

CLOSE = {"rtol": 0, "atol": 2e-5}
NEW = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}


def single(num_frames=8, seed=0):
    return llava_inputs(llava_processor(), [[moving_frames(num_frames, seed=seed)]], ["What moves?"])


def test_mismatches_are_refused_with_both_numbers():
    model, inputs = llava_model(), llava_batch()
    keeps = random_keeps(inputs, 0.4)
    gated = with_keeps(inputs, keeps)
    with framegate.attach(model, None, "gate"):
        cut = gated | {name: gated[name][:, :-60] for name in ("input_ids", "attention_mask")}
        with pytest.raises(PlaceholderError, match=r"\d+ video placeholders.*129 \+ 97 \+ 65 = 291"):
            model(**cut)
        with pytest.raises(PlaceholderError, match=r"ask for \d+ patches"):
            model(**gated | {"pixel_values_videos": gated["pixel_values_videos"][:-4]})
        for lost in ("framegate_notes", "framegate_plan"):
            with pytest.raises((PlaceholderError, PlanError), match=lost):
                model(**{name: value for name, value in gated.items() if name != lost})
        other = [np.ones((tubes, 7, 7), bool) for tubes in (8, 6, 4)]
        with pytest.raises(PlaceholderError, match=r"7, 7.*4 x 4"):
            model(**gated | packed(other, cell_px=28, tube_frames=1))
        with pytest.raises(PlaceholderError, match=r"3, 98, 98\).*3, 104, 104"):
            model(
                **gated
                | {
                    "pixel_values_videos": torch.zeros(3, 2, 3, 98, 98),
                    "framegate_notes": None,
                    "framegate_plan": None,
                }
            )
        call = stock_call(single())
        call["pixel_values_videos"][0, 5, 1, 3, 3] = float("nan")
        with pytest.raises(FrameError, match=r"video 0.*frame 5"):
            model(**call)


def test_what_the_family_cannot_do_is_refused_or_stands_aside_by_name():
    model = llava_model()
    with framegate.attach(model, None, "gate", context="anchored", keep_ratio=0.3) as front_end:
        with torch.no_grad():
            model(**stock_call(single()))
        assert "'anchored' stands aside" in str(front_end.report.notes)
    model.config.vision_feature_select_strategy = "default"
    with pytest.raises(UnsupportedModelError, match="'default'"):
        framegate.attach(model, None, "gate")


def test_packed_rows_and_positions_of_several_axes_are_refused():
    model, inputs = llava_model(), single()
    gated = with_keeps(inputs, random_keeps(inputs, 0.4))
    width = gated["input_ids"].shape[1]
    text = torch.cat([torch.arange(10), torch.arange(width - 10)])[None]
    call = {name: value for name, value in gated.items() if name != "attention_mask"}
    with framegate.attach(model, None, "gate"):
        with pytest.raises(AttachmentError, match="packed"):
            model(**call, position_ids=text)
        with pytest.raises(AttachmentError, match="one axis"):
            model(**call, position_ids=text.expand(3, 1, -1))


@torch.no_grad()
def test_position_ids_of_one_row_serve_the_llava_batch():
    model = llava_model()
    both = llava_inputs(llava_processor(), [[moving_frames()], [moving_frames(seed=1)]], ["ab", "cd"])
    gated = with_keeps(both, random_keeps(both, 0.4))
    row = torch.arange(both["input_ids"].shape[1])[None]
    with framegate.attach(model, None, "gate"):
        got = model(**gated, position_ids=row).logits
        assert torch.equal(got, model(**gated, position_ids=row.expand(2, -1)).logits)
        torch.testing.assert_close(got, model(**gated).logits, **CLOSE)


def test_detach_leaves_no_trace():
    model = llava_model()
    modules = list(model.modules())
    before = [{key: id(value) for key, value in vars(module).items()} for module in modules]
    front_end = framegate.attach(model, None, "gate")
    front_end.detach()
    assert [{key: id(value) for key, value in vars(m).items()} for m in modules] == before
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in modules)


@torch.no_grad()
def test_a_second_model_of_the_same_class_and_config_stays_stock():
    first = llava_model()
    second = type(first)(first.config).eval()
    call = stock_call(single())
    want = second(**call).logits
    framegate.attach(first, None, "gate", keep_ratio=0.3)
    assert torch.equal(second(**call).logits, want)


@torch.no_grad()
def test_deepcopy_compresses_on_its_own():
    model, inputs = llava_model(), single()
    gated = with_keeps(inputs, random_keeps(inputs, 0.4))
    original = framegate.attach(model, None, "gate")
    want = model.generate(**gated, **NEW)
    twin = copy.deepcopy(model)
    original.detach()
    rows, own = tower_rows(model), tower_rows(twin)
    assert torch.equal(twin.generate(**gated, **NEW), want)
    assert rows == []
    assert sum(own) == len(gated["pixel_values_videos"])
    framegate.front_end_of(twin).detach()
    assert not twin.base_model._forward_pre_hooks


@pytest.mark.parametrize("attach_first", [True, False], ids=["attach-then-peft", "peft-then-attach"])
def test_peft_in_both_orders(attach_first):
    from peft import LoraConfig, get_peft_model

    model, inputs = llava_model(), single()
    gated = with_keeps(inputs, random_keeps(inputs, 0.4))
    lora = LoraConfig(target_modules=["q_proj", "v_proj"], r=2, init_lora_weights=False)
    if attach_first:
        framegate.attach(model, None, "gate")
    wrapped = get_peft_model(model, lora)
    if not attach_first:
        framegate.attach(wrapped, None, "gate")
    rows = tower_rows(model)
    ids = wrapped.generate(**gated, **NEW)
    assert torch.equal(ids[:, : gated["input_ids"].shape[1]], gated["input_ids"])
    wrapped.train()
    wrapped(**gated, labels=gated["input_ids"]).loss.backward()
    assert sum(rows) == 2 * len(gated["pixel_values_videos"])
    grads = {name: p.grad for name, p in wrapped.named_parameters() if "lora_" in name}
    # the tower's last block feeds no hidden state before its own end, and every block of the tower is read
    assert all(grad is not None and grad.abs().sum() > 0 for grad in grads.values())
    assert any("vision_tower" in name for name in grads)


@torch.no_grad()
def test_saved_whole_and_loaded_it_still_compresses():
    model, inputs = llava_model(), single()
    gated = with_keeps(inputs, random_keeps(inputs, 0.4))
    framegate.attach(model, None, "gate")
    want, file = model.generate(**gated, **NEW), io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    assert torch.equal(again.generate(**gated, **NEW), want)


@torch.no_grad()
def test_compiled_models_compress():
    model, inputs = llava_model(), single()
    with framegate.attach(model, None, "gate", keep_ratio=0.4) as front_end:
        want = model(**stock_call(inputs)).logits
        got = torch.compile(model, backend="eager")(**stock_call(inputs)).logits
        torch.testing.assert_close(got, want, rtol=0, atol=1e-5)
        assert front_end.report.keep_ratio < 0.5
