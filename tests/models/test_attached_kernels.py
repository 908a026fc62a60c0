"""A front end on kernels from the pixels on: the same as in torch, and the report says what ran."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from gated import random_keeps, with_keeps
from moving import as_rgb, panned_clip
from tiny import moving_frames, stock_inputs, stock_model, stock_processor
from tiny_llava import llava_inputs, llava_model, llava_processor, stock_call

import framegate
from framegate.errors import BackendError, ConfigError, FrameError
from framegate.kernels.dispatch import recording
from framegate.models.attachment.account import account_for_clock
from framegate.models.attachment.attention import wants_own_attention
from framegate.models.attachment.gating import gate_call
from framegate.models.families import family_of
from framegate.models.mechanism import mechanism_of
from framegate.report import Report

PACKED = ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"]
CLOSE = {"rtol": 0, "atol": 2e-5}
# the plain gate, which runs where the pixels are
PLAIN = {"motion": "none"}
POOLED = {"condensation": {"key_tubes_only": False}}


@pytest.fixture(params=PACKED)
def family(request):
    return request.param


@pytest.fixture(autouse=True)
def _on_the_cpu():
    if torch.cuda.is_available():
        pytest.skip(
            "for machines without a GPU: kernels run in the interpreter; test_on_gpu.py is for those with one"
        )


def batch(family):
    """Small: the interpreter takes about a millisecond a program."""
    return of_frames(family, moving_frames(6, 128, 96)[:, 20:, :64])


def of_frames(family, frames):
    return stock_inputs(stock_processor(family), [[frames]], ["What moves?"])


def run(model, inputs, *arguments, **settings):
    with framegate.attach(model, None, *arguments, **settings) as front_end:
        return model(**inputs).logits, front_end.report


@pytest.mark.parametrize("stages", [{}, POOLED], ids=["gate", "pooled"])
@torch.no_grad()
def test_kernels_give_what_torch_gives(family, stages):
    model, inputs = stock_model(family), batch(family)
    want, in_torch = run(model, inputs, "gate", **PLAIN, **stages, backend="torch")
    got, report = run(model, inputs, "gate", **PLAIN, **stages, backend="triton")
    torch.testing.assert_close(got, want, **CLOSE)
    assert report.kept_tokens == in_torch.kept_tokens < report.dense_tokens
    ran = {path.split(": ")[0] for path in report.kernels}
    assert {"anchor_scan", "compact", "anchored_attention"} <= ran
    assert all(path.endswith(": triton") for path in report.kernels)
    assert bool(stages) == ("pool_condense" in ran)
    assert "kernels: anchor_scan: triton" in str(report)
    assert all(path.endswith(": torch") for path in in_torch.kernels)
    assert "kernels:" not in str(in_torch)


@torch.no_grad()
def test_scenes_merge_on_kernels(family):
    """Two scenes that come twice: compared by one kernel, merged by another."""
    first, second = moving_frames(1, 112, 112), moving_frames(1, 112, 112, seed=1)
    frames = np.concatenate([first, first, second, second, first, first])
    model, inputs = stock_model(family), of_frames(family, frames)
    settings = {"motion": "none", "scene_merge": {"distribution": "features", "recurring": True}}
    want, _ = run(model, inputs, "gate", **settings, backend="torch")
    got, report = run(model, inputs, "gate", **settings, backend="triton")
    torch.testing.assert_close(got, want, **CLOSE)
    assert report.kernels["scene_divergence: triton"] > 0
    assert report.kernels["segment_merge: triton"] > 0


# the interpreter takes half a minute; the ops have tests of their own
@pytest.mark.slow
@torch.no_grad()
def test_kernels_meet_a_budget():
    model, inputs = stock_model("qwen2_5_vl"), of_frames("qwen2_5_vl", moving_frames(4, 56, 56))
    settings = {"motion": "none", "search": "threshold", "keep_ratio": 0.7}
    want, in_torch = run(model, inputs, "gate", **settings)
    got, report = run(model, inputs, "gate", **settings, backend="triton")
    torch.testing.assert_close(got, want, **CLOSE)
    assert report.kept_tokens == in_torch.kept_tokens == round(0.7 * report.dense_tokens)
    assert report.kernels["anchor_scan: triton"] == 2


@pytest.mark.parametrize("motion", ["none", "camera"])
@torch.no_grad()
def test_anchored_context_on_kernels(family, motion):
    if family == "qwen3_vl" and motion == "camera":
        pytest.skip("refused at attach")
    model = stock_model(family)
    settings = {"context": "anchored", "motion": motion, "keep_ratio": 0.6}
    inputs = of_frames(family, as_rgb(panned_clip([(5 * step, 0) for step in range(6)], 96, 128)))
    want, _ = run(model, inputs, "gate", **settings)
    got, report = run(model, inputs, "gate", **settings, backend="triton")
    torch.testing.assert_close(got, want, **CLOSE)
    assert report.kernels["anchored_attention: triton"] > 0


@torch.no_grad()
def test_the_attention_is_one_call_a_layer(family):
    """Windows included: no loop over segments is left."""
    model, inputs = stock_model(family), batch(family)
    _, report = run(model, inputs, "gate", **PLAIN, backend="triton")
    assert report.kernels["anchored_attention: triton"] == len(model.model.visual.blocks)


@torch.no_grad()
def test_other_varlen_attentions_get_our_segments_in_one_call_a_layer(family):
    """The route of flash_attention_2: what is registered under such a name is handed all segments at once."""
    from transformers import AttentionInterface

    calls = []

    def varlen(module, q, k, v, attention_mask, scaling=None, cu_seq_lens_q=None, cu_seq_lens_k=None, **_):
        calls.append(len(cu_seq_lens_q))
        place = torch.arange(q.shape[2])
        mine, theirs = (torch.bucketize(place, cu, right=True) for cu in (cu_seq_lens_q, cu_seq_lens_k))
        seen = torch.nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=mine[:, None] == theirs, scale=scaling
        )
        return seen.transpose(1, 2).contiguous(), None

    AttentionInterface.register("flash_attention_of_a_test", varlen)
    model, inputs = stock_model(family), batch(family)
    want, _ = run(model, inputs, "gate", **PLAIN)
    model.set_attn_implementation({"vision_config": "flash_attention_of_a_test"})
    got, report = run(model, inputs, "gate", **PLAIN)
    torch.testing.assert_close(got, want, **CLOSE)
    assert report.kept_tokens < report.dense_tokens
    assert len(calls) == len(model.model.visual.blocks)


@torch.no_grad()
def test_what_is_not_ours_stays_bit_equal(family):
    from PIL import Image

    processor, model = stock_processor(family), stock_model(family)
    picture = Image.fromarray(moving_frames(1, 56, 84)[0])
    image = stock_inputs(processor, [[]], ["A picture."], [[picture]])
    video, stock_config = batch(family), model.model.visual.config
    for inputs, settings in ((image, PLAIN), (video, {"keep_ratio": 1.0})):
        want = model(**inputs).logits
        with recording() as ran:
            got, _ = run(model, inputs, "gate", **settings, backend="triton")
        assert torch.equal(got, want)
        assert not ran
    assert model.model.visual.config is stock_config


@torch.no_grad()
def test_an_attention_chosen_after_attach_stays():
    model = stock_model("qwen2_5_vl")
    front_end = framegate.attach(model, None, "gate", **PLAIN, backend="triton")
    assert model.model.visual.config._attn_implementation == "flash_attention_framegate"
    assert model.config.vision_config._attn_implementation == "sdpa"
    model.set_attn_implementation("eager")
    inputs = batch("qwen2_5_vl")
    model(**inputs)
    assert not any(path.startswith("anchored_attention") for path in front_end.report.kernels)
    front_end.detach()
    assert model.model.visual.config is model.config.vision_config
    assert model.model.visual.blocks[0].attn.config._attn_implementation == "eager"


def test_gradients_are_those_of_torch():
    model, inputs = stock_model("qwen2_5_vl"), batch("qwen2_5_vl")
    keeps, labels, grads = random_keeps(inputs, 0.4), inputs["input_ids"].clone(), {}
    for backend in ("torch", "triton"):
        model.zero_grad()
        with framegate.attach(model, None, "gate", motion="none", **POOLED, backend=backend) as front_end:
            model(**with_keeps(inputs, keeps), labels=labels).loss.backward()
        assert (front_end.report.kernels.get("pool_condense: triton", 0) > 0) == (backend == "triton")
        weights = model.model.visual.blocks[0].attn.qkv.weight, model.model.visual.patch_embed.proj.weight
        grads[backend] = [weight.grad.clone() for weight in weights]
    for got, want in zip(grads["triton"], grads["torch"], strict=True):
        assert float(want.abs().max()) > 0
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-6)


@torch.no_grad()
def test_a_grid_tower_merges_on_kernels():
    model = llava_model()
    inputs = stock_call(llava_inputs(llava_processor(), [[moving_frames(4)]], ["What moves?"]))
    settings = {"keep_ratio": 0.5, **POOLED}
    want, _ = run(model, inputs, "gate", **settings)
    got, report = run(model, inputs, "gate", **settings, backend="triton")
    torch.testing.assert_close(got, want, **CLOSE)
    assert report.kernels["compact: triton"] == report.kernels["pool_condense: triton"] == 1


@torch.no_grad()
def test_a_backend_that_cannot_run_is_an_error(family, monkeypatch):
    model, inputs = stock_model(family), batch(family)
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    with (
        framegate.attach(model, None, "gate", **PLAIN, backend="triton"),
        pytest.raises(BackendError, match="tensors are on cpu, kernels run on CUDA and ROCm GPUs"),
    ):
        model(**inputs)
    with pytest.raises(ConfigError, match="Did you mean 'triton'"):
        framegate.attach(model, None, "gate", backend="trition")


def test_luma_of_rows_is_the_cpus():
    """The gate sees the same picture wherever the pixels are."""
    for family in PACKED:
        model, inputs = stock_model(family), batch(family)
        mechanism = mechanism_of(model.model, family_of(model))
        for luma, judged in zip(mechanism.luma(inputs), mechanism.judged(inputs), strict=True):
            frames = torch.stack(
                [torch.from_numpy(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)) for frame in judged.frames]
            )
            assert torch.equal(luma.flatten(0, 1), frames)


def test_rows_beyond_pixels_and_of_a_wrong_width():
    """Resizing overshoots: what is no pixel becomes the nearest one, as on the CPU."""
    mechanism = mechanism_of(stock_model("qwen2_vl").model, family_of(stock_model("qwen2_vl")))
    inputs = batch("qwen2_vl")
    inputs["pixel_values_videos"] = inputs["pixel_values_videos"] * 3
    (luma,), (judged,) = mechanism.luma(inputs), mechanism.judged(inputs)
    assert {0, 255} <= set(judged.frames.flatten().tolist())
    frames = torch.stack(
        [torch.from_numpy(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)) for frame in judged.frames]
    )
    assert torch.equal(luma.flatten(0, 1), frames)
    inputs["pixel_values_videos"] = inputs["pixel_values_videos"][:, :-1]
    with pytest.raises(FrameError, match="do not fit the grid"):
        mechanism.luma(inputs)


@pytest.mark.parametrize(
    "settings",
    # half a minute for the interpreter; test_kernels_meet_a_budget is the short one
    [PLAIN, pytest.param({**PLAIN, "search": "threshold", "keep_ratio": 0.6}, marks=pytest.mark.slow)],
)
def test_what_the_gate_hands_on_is_the_cpus(family, settings):
    """Cells, pixels and scores, which later stages rank by."""
    model, inputs = stock_model(family), dict(batch(family))
    mechanism = mechanism_of(model.model, family_of(model))
    found, wanted = (
        gate_call(inputs, mechanism, framegate.load_config("gate", **settings, backend=backend), None)
        for backend in ("triton", "auto")
    )
    assert torch.equal(found.cells.keep, wanted.cells.keep)
    assert torch.equal(found.cells.anchor, wanted.cells.anchor)
    assert torch.equal(found.patches, wanted.patches)
    torch.testing.assert_close(found.score, wanted.score)
    assert float(found.score.max()) > 0
    assert found.notes == wanted.notes


@torch.no_grad()
def test_a_gate_that_stays_on_the_cpu_says_why(family):
    model, inputs = stock_model(family), batch(family)
    _, report = run(model, inputs, "gate", motion="none", keep_ratio=0.5, backend="triton")
    assert [note for note in report.notes if "the gate ran on the CPU: the optimum" in note]
    assert not [path for path in report.kernels if path.startswith("anchor_scan")]
    _, report = run(model, inputs, "gate", motion="none", keep_ratio=0.5)
    assert not [note for note in report.notes if "ran on the CPU" in note]


def test_a_report_says_whose_milliseconds_it_tells():
    report = Report(preset="gate")
    account_for_clock(report, torch.device("cpu"))
    assert report.notes == []
    account_for_clock(report, torch.device("cuda"))
    assert report.notes == ["milliseconds are the host's: work on cuda may go on behind them"]


def test_the_towers_attention_is_framegates_where_kernels_run(monkeypatch):
    """Decided at attach; a tower that comes to a GPU later is told of in the report."""
    tower = SimpleNamespace(config=SimpleNamespace(_attn_implementation="sdpa"), device=torch.device("cuda"))
    config, qwen = framegate.load_config("gate", **PLAIN), family_of(stock_model("qwen2_vl"))
    assert wants_own_attention(tower, qwen, config)
    assert not wants_own_attention(tower, qwen, config.override(backend="torch"))
    assert not wants_own_attention(tower, qwen, config.override(keep_ratio=1.0))
    assert not wants_own_attention(tower, family_of(llava_model()), config)
    tower.config._attn_implementation = "flash_attention_2"
    assert not wants_own_attention(tower, qwen, config)
    model, inputs = stock_model("qwen2_vl"), batch("qwen2_vl")
    with framegate.attach(model, None, "gate", **PLAIN) as front_end, torch.no_grad():
        monkeypatch.setattr("framegate.models.attachment.attention.kernels_run", lambda backend, device: True)
        model(**inputs)
        assert any("moved to a GPU" in note for note in front_end.report.notes)
