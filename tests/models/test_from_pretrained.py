"""Loading by name: framegate's shells gate, plain transformers sees the dense model, and both ways in agree."""

import json

import numpy as np
import pytest
import torch
import transformers
from clips import write_clip
from tiny import FAMILIES, moving_frames, stock_inputs, stock_model, stock_processor

import framegate
from framegate.errors import ConfigError, UnsupportedModelError

pytestmark = pytest.mark.floor

NEW = {"max_new_tokens": 5, "min_new_tokens": 5, "do_sample": False}


@pytest.fixture(scope="module", params=FAMILIES)
def checkpoint(request, tmp_path_factory):
    """A saved stock model and processor."""
    folder = tmp_path_factory.mktemp(request.param)
    stock_model(request.param).save_pretrained(folder)
    stock_processor(request.param).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "moving.mp4"
    write_clip(path, moving_frames(16, 112, 168), times_ms=[125 * t for t in range(16)])
    return path


def ask(processor, video, question="What moves?"):
    content = [{"type": "video", "path": str(video)}, {"type": "text", "text": question}]
    return processor.apply_chat_template(
        [{"role": "user", "content": content}],
        tokenize=True,
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
    )


def test_saved_with_its_front_end_and_read_back(checkpoint, clip, tmp_path):
    model, processor = framegate.from_pretrained(checkpoint, front_end="gate")
    front_end = framegate.front_end_of(model)
    front_end.detach()
    framegate.attach(model, processor, "gate", keep_ratio=0.3, fps=8)
    inputs = ask(processor, clip)
    want = model.generate(**inputs, **NEW)
    assert torch.equal(want[:, : inputs["input_ids"].shape[1]], inputs["input_ids"])
    report = framegate.front_end_of(model).report
    assert report.kept_tokens == round(0.3 * report.dense_tokens)
    assert len(inputs["pixel_values_videos"]) == report.kept_tokens * 4
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "front_end_config.json").read_text())["keep_ratio"] == 0.3

    again, processor = framegate.from_pretrained(tmp_path)
    assert framegate.front_end_of(again).config.keep_ratio == 0.3
    assert torch.equal(again.generate(**ask(processor, clip), **NEW), want)
    shell = framegate.AutoModelForImageTextToText.from_pretrained(tmp_path)
    shell_processor = framegate.AutoProcessor.from_pretrained(tmp_path)
    assert torch.equal(shell.generate(**ask(shell_processor, clip), **NEW), want)


@torch.no_grad()
def test_plain_transformers_opens_the_same_folder_dense(checkpoint, tmp_path):
    model, processor = framegate.from_pretrained(checkpoint, front_end="gate")
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    plain = transformers.AutoModelForImageTextToText.from_pretrained(tmp_path)
    stock = transformers.AutoProcessor.from_pretrained(tmp_path)
    assert framegate.front_end_of(plain) is None
    assert type(stock.video_processor).__module__.startswith("transformers.")
    inputs = stock_inputs(stock, [[moving_frames()]], ["What moves?"])
    framegate.front_end_of(model).detach()
    assert torch.equal(plain(**inputs).logits, model(**inputs).logits)


@torch.no_grad()
def test_both_ways_in_give_the_same_plan_and_logits(checkpoint):
    """Stock processor and the model's own gate, or the attached processor: the same frames, the same cells."""
    model = transformers.AutoModelForImageTextToText.from_pretrained(checkpoint)
    stock = transformers.AutoProcessor.from_pretrained(checkpoint)
    frames = moving_frames(12)
    dense = stock_inputs(stock, [[frames]], ["What moves?"])
    with framegate.attach(model, None, "gate", keep_ratio=0.4) as front_end:
        through_stock = model(**dense).logits
        kept = front_end.report.kept_tokens
        assert kept == round(0.4 * front_end.report.dense_tokens)
    with framegate.attach(model, stock, "gate", keep_ratio=0.4) as front_end:
        gated = stock_inputs(stock, [[frames]], ["What moves?"])
        assert torch.equal(gated["input_ids"], dense["input_ids"])
        assert len(gated["pixel_values_videos"]) == 4 * kept
        through_attached = model(**gated).logits
    torch.testing.assert_close(through_attached, through_stock, rtol=0, atol=1e-5)
    assert torch.equal(
        stock_inputs(stock, [[frames]], ["What moves?"])["pixel_values_videos"], dense["pixel_values_videos"]
    )


def test_a_plan_for_a_family_counts_the_tokens_of_its_processor():
    from importlib import resources

    from framegate.models.tiny import tiny_pair

    video = str(resources.files("framegate") / "assets/slides.mp4")
    for family in FAMILIES:
        model, processor = tiny_pair(family)
        plan = framegate.plan_video(video, "gate", keep_ratio=0.2, fps=1, family=family)
        with framegate.attach(model, processor, "gate", keep_ratio=0.2, fps=1):
            inputs = ask(processor, video)
        assert int(inputs["video_grid_thw"].prod()) // 4 == plan.num_cells
        assert len(inputs["pixel_values_videos"]) // 4 == plan.num_kept
        assert np.array_equal(inputs["framegate_plan"][:, 0].numpy(), plan.anchor.reshape(-1))
    with pytest.raises(UnsupportedModelError, match="qwen2_vl"):
        framegate.plan_video(video, "gate", family="qwen4")


def test_budgets_count_per_video(checkpoint):
    model = transformers.AutoModelForImageTextToText.from_pretrained(checkpoint)
    stock = transformers.AutoProcessor.from_pretrained(checkpoint)
    inputs = stock_inputs(stock, [[moving_frames(12)], [moving_frames(8, 84, 112, seed=1)]], ["a", "bc"])
    with framegate.attach(model, None, "gate", keep_ratio=1.0, max_video_tokens=20) as front_end:
        out = model.generate(**inputs, **NEW)
        assert torch.equal(out[:, : inputs["input_ids"].shape[1]], inputs["input_ids"])
        assert front_end.report.kept_tokens == 40
        assert front_end.report.num_videos == 2


def test_bad_folders_are_refused_by_name(checkpoint, tmp_path):
    from transformers import LlamaConfig

    LlamaConfig().save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModelError, match=r"'llama'.*qwen2_vl"):
        framegate.from_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="Did you mean"):
        framegate.from_pretrained(checkpoint, front_end="gat")
    stock_model("qwen2_vl").config.save_pretrained(tmp_path)
    (tmp_path / "front_end_config.json").write_text("{")
    with pytest.raises(ConfigError, match="front_end_config.json"):
        framegate.from_pretrained(tmp_path)
    (tmp_path / "front_end_config.json").write_text('{"keep_ration": 1}')
    with pytest.raises(ConfigError, match="keep_ratio"):
        framegate.from_pretrained(tmp_path)


@pytest.mark.gpu
@pytest.mark.parametrize("attention", ["sdpa", "flash_attention_2"])
def test_gpu_attention_agrees_with_the_cpu(checkpoint, attention):
    if attention == "flash_attention_2":
        pytest.importorskip("flash_attn")
    frames, want = moving_frames(12), None
    stock = transformers.AutoProcessor.from_pretrained(checkpoint)
    for device, options in (("cpu", {}), ("cuda", {"attn_implementation": attention})):
        dtype = torch.bfloat16 if attention == "flash_attention_2" else torch.float32
        model = transformers.AutoModelForImageTextToText.from_pretrained(checkpoint, dtype=dtype, **options)
        model.to(device)
        with framegate.attach(model, None, "gate", keep_ratio=0.4), torch.no_grad():
            inputs = {k: v.to(device) for k, v in stock_inputs(stock, [[frames]], ["What moves?"]).items()}
            logits = model(**inputs).logits.float().cpu()
        want = logits if want is None else want
    torch.testing.assert_close(logits, want, rtol=0, atol=0.25 if dtype is torch.bfloat16 else 1e-3)
