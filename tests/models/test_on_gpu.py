"""A front end on a GPU: kernels by themselves, the CPU's decisions, FlashAttention's tokens, no waiting per frame."""

import pytest
import torch
import transformers
from moving import jumping_clip
from tiny import moving_frames, stock_inputs, stock_model, stock_processor

import framegate
from framegate.tokenizers.gate.config import Budget, GateConfig
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.on_device import device_run, scanned, searched

PACKED = ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"]
NEW = {"max_new_tokens": 8, "min_new_tokens": 8, "do_sample": False}
PLAIN = {"motion": "none", "search": "threshold", "keep_ratio": 0.4}

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def _exact_products(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)


def inputs_of(family, device="cuda"):
    videos = [[moving_frames()], [moving_frames(6, seed=1)]]
    inputs = stock_inputs(stock_processor(family), videos, ["What moves?", "And in the second one?"])
    return {name: value.to(device) for name, value in inputs.items()}


@pytest.mark.parametrize("family", PACKED)
@pytest.mark.parametrize("settings", [PLAIN, {"keep_ratio": 0.4, "condensation": {"key_tubes_only": False}}])
@torch.no_grad()
def test_auto_runs_kernels_and_decides_as_the_cpu(family, settings):
    model = stock_model(family)
    with framegate.attach(model, None, "gate", **settings) as front_end:
        want, counts = model(**inputs_of(family, "cpu")).logits, front_end.report.kept_tokens
    model.cuda()
    with framegate.attach(model, None, "gate", **settings) as front_end:
        got, report = model(**inputs_of(family)).logits, front_end.report
    assert report.kept_tokens == counts
    assert report.kernels
    assert all(path.endswith(": triton") for path in report.kernels)
    torch.testing.assert_close(got.cpu(), want, rtol=0, atol=1e-3)
    stays_on_the_cpu = settings is not PLAIN
    assert stays_on_the_cpu == any("the gate ran on the CPU" in note for note in report.notes)


@pytest.mark.parametrize("family", PACKED)
@torch.no_grad()
def test_flash_attention_gives_the_tokens_of_sdpa(family):
    pytest.importorskip("flash_attn")
    tokens = {}
    for attention in ("sdpa", "flash_attention_2"):
        model = stock_model(family).to("cuda", torch.bfloat16)
        model.set_attn_implementation(attention)
        with framegate.attach(model, None, "gate", keep_ratio=0.4, motion="none"):
            tokens[attention] = model.generate(**inputs_of(family), **NEW)
    assert torch.equal(tokens["sdpa"], tokens["flash_attention_2"])


@pytest.mark.parametrize("family", PACKED)
@torch.no_grad()
def test_flash_attention_runs_once_a_layer(family, monkeypatch):
    """The varlen route, whatever the number of windows."""
    pytest.importorskip("flash_attn")
    model = stock_model(family).to("cuda", torch.bfloat16)
    model.set_attn_implementation({"vision_config": "flash_attention_2"})
    # transformers looks the function up once and keeps it
    utils, calls = transformers.modeling_flash_attention_utils, []
    varlen = utils._flash_varlen_fn
    monkeypatch.setattr(utils, "_flash_varlen_fn", lambda *a, **k: calls.append(1) or varlen(*a, **k))
    with framegate.attach(model, None, "gate", keep_ratio=0.4, motion="none"):
        model(**inputs_of(family))
    assert len(calls) == len(model.model.visual.blocks)


@pytest.mark.parametrize("ratio", [0.2, 0.5, 0.8])
def test_ties_fall_as_on_the_cpu(ratio):
    """Every cell is the same, so that residuals tie across the whole tube."""
    luma = torch.from_numpy(jumping_clip(0, 8, 2, 1, 1, 28)).tile(1, 1, 6, 9)
    config, allowed = GateConfig(motion="none", search="threshold"), Budget(keep_ratio=ratio)
    found, wanted = (device_run(part, config, allowed, cell_px=28) for part in (luma.cuda(), luma))
    assert (found.keep == wanted.keep).all()


@pytest.mark.parametrize("tubes", [4, 32])
def test_nothing_waits_for_the_device(tubes):
    luma = torch.randint(0, 256, (tubes, 2, 224, 224), dtype=torch.uint8, device="cuda")
    grid = CellGrid.of(224, 224, cell_px=28, tube_frames=2)
    config = GateConfig(motion="none", search="threshold")
    searched(luma, grid, config, 100, "auto")  # compiles
    torch.cuda.set_sync_debug_mode("error")
    try:
        searched(luma, grid, config, 100, "auto")
        scanned(luma, grid, config, "auto")
    finally:
        torch.cuda.set_sync_debug_mode("default")
