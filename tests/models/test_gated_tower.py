"""A gate before timm's vision transformers: dense where nothing is skipped, masked where something is, else refused."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from clips import write_clip

import framegate
from framegate.errors import ConfigError, FrameError, PlanError, UnsupportedModelError
from framegate.models.towers import timm_vit

timm = pytest.importorskip("timm")

CLOSE = {"rtol": 0, "atol": 1e-5}
SMALL = {"img_size": 64, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 2}
# what of a tower each stands for
TOWERS = {
    "vit_tiny_patch16_224": "class token",
    "vit_base_patch16_siglip_224": "no class token, pooling by attention",
    "vit_base_patch16_clip_224": "norm before the blocks",
    "vit_small_patch14_reg4_dinov2": "registers, class token without a position, layer scale",
    "vit_base_patch16_rpn_224": "norm behind",
    "vit_base_patch16_xp_224": "parallel",
    "vit_small_patch16_18x2_224": "several at once",
    "vit_dwee_patch16_reg1_gap_256": "differential attention",
    "test_vit": "any size",
    "eva_giant_patch14_224": "Eva, positions learned",
    "eva02_tiny_patch14_224": "learned and turned",
    "vit_small_patch16_dinov3": "turned, registers",
    "vit_small_patch16_rope_mixed_224": "turned by each block in its own way",
    "vit_pe_core_tiny_patch16_384": "PE",
}


def tower_model(name="vit_tiny_patch16_224", **changed):
    model = timm.create_model(name, num_classes=3, **SMALL | changed)
    with torch.no_grad():
        for weight in model.parameters():
            # some start at 0, and would hide what they multiply
            weight.add_(torch.randn_like(weight) * 0.02)
    return model.eval()


def film(count=6, height_px=64, width_px=64, seed=0):
    """Noise in which a square changes from the fourth frame on, uint8 [F, h, w, 3]."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 255, (1, height_px, width_px, 3), dtype=np.uint8).repeat(count, 0)
    frames[3:, 8:24, 8:24] = rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)
    return frames


def pixels_of(model, frames):
    mean, std = (torch.tensor(model.pretrained_cfg[name])[:, None, None] for name in ("mean", "std"))
    return (torch.from_numpy(frames).permute(0, 3, 1, 2) / 255 - mean) / std


def kept_patches(plan, cell_patches=1):
    """bool [F, N] of a plan."""
    return torch.from_numpy(plan.keep.repeat(cell_patches, 1).repeat(cell_patches, 2)).flatten(1)


def first_block_rows(model):
    rows = []
    model.blocks[0].register_forward_pre_hook(
        lambda _, args: rows.append(args[0].shape[0] * args[0].shape[1])
    )
    return rows


@pytest.mark.parametrize("name", TOWERS)
@torch.no_grad()
def test_ratio_1_is_forward_features(name):
    model, frames = tower_model(name), film()
    out = framegate.gate_tower(model, fps=2, tower_ratio=1.0)(frames)
    want = model.forward_features(pixels_of(model, frames))
    torch.testing.assert_close(out.sequence, want, **CLOSE)
    assert torch.equal(out.features, out.sequence[:, model.num_prefix_tokens :])
    assert out.report.tower_ratio == 1
    assert out.shown.all()
    assert model.forward_head(out.sequence).shape == (6, 3)


@pytest.mark.parametrize("cell_patches", [1, 2])
@pytest.mark.parametrize("name", TOWERS)
@torch.no_grad()
def test_kept_patches_are_those_of_the_dense_model_with_skipped_keys_masked(name, cell_patches):
    model, frames = tower_model(name), film()
    rows, prefix = first_block_rows(model), model.num_prefix_tokens
    tower = framegate.gate_tower(model, fps=2, tower_ratio=0.3, cell_patches=cell_patches)
    out = tower(frames)
    keep = kept_patches(out.plan, cell_patches)
    assert 0 < keep[3].sum() < 64
    some = keep.any(1)
    assert sum(rows) == int(keep.sum()) + prefix * int(some.sum())
    visible = torch.cat([torch.ones(len(keep), prefix, dtype=torch.bool), keep], dim=1)[some]
    want = model.forward_features(pixels_of(model, frames)[some], attn_mask=visible[:, None, None])
    torch.testing.assert_close(out.sequence[some][visible], want[visible], **CLOSE)


@torch.no_grad()
def test_a_still_film_costs_one_frame_and_has_the_features_of_the_dense_model():
    model, frames = tower_model(), film()[:1].repeat(5, 0)
    out = framegate.gate_tower(model, fps=2)(frames)
    assert out.plan.num_kept == 64
    torch.testing.assert_close(out.sequence, model.forward_features(pixels_of(model, frames)), **CLOSE)
    assert out.report.tower_ratio == pytest.approx(0.2)
    assert out.report.keep_ratio == 1


@torch.no_grad()
def test_skipped_patches_are_their_anchors_and_the_report_tells_the_shares():
    model, frames = tower_model(), film()
    settings = {"fps": 2, "tower_ratio": 0.25, "context": "anchored"}
    out = framegate.gate_tower(model, cell_patches=2, **settings)(frames)
    keep, anchor = kept_patches(out.plan, 2), torch.from_numpy(out.plan.anchor)
    anchor = anchor.repeat_interleave(2, 1).repeat_interleave(2, 2).flatten(1).long()
    assert torch.equal(out.features, out.features.gather(0, anchor[..., None].expand_as(out.features)))
    skipped = ~keep.any(1)
    assert skipped.any()
    for frame in skipped.nonzero()[:, 0].tolist():
        assert torch.equal(out.sequence[frame, :1], out.sequence[frame - 1, :1])
    report = out.report
    assert (report.encoded_cells, report.dense_tokens, report.kept_tokens) == (24, 96, 96)
    assert report.stage("gate").patches_out == report.stage("tower").patches_in == 96
    assert "72 tokens show their anchor again" in str(report)
    assert any("context 'anchored' stands aside" in note for note in report.notes)


@torch.no_grad()
def test_patches_that_nothing_showed_hold_zeros():
    out = framegate.gate_tower(tower_model(), fps=2, tower_ratio=0.05)(film())
    assert 0 < out.shown.sum() < out.shown.numel()
    assert not out.features[~out.shown].any()
    assert any("never shown" in note for note in out.report.notes)


@torch.no_grad()
def test_a_margin_that_no_patch_covers_is_not_judged():
    model, frames = tower_model(img_size=62), film(height_px=62, width_px=62)
    out = framegate.gate_tower(model, fps=2, tower_ratio=1.0)(frames)
    assert out.features.shape == (6, 49, 32)
    torch.testing.assert_close(out.sequence, model.forward_features(pixels_of(model, frames)), **CLOSE)


@torch.no_grad()
def test_wide_towers_take_files_and_plans_of_their_own(tmp_path):
    frames = film(12, 64, 96)
    path = write_clip(tmp_path / "clip.mp4", frames, options={"crf": "0"})
    model = tower_model(img_size=(64, 96))
    tower = framegate.gate_tower(model, fps=5, tower_ratio=0.4)
    plan = tower.plan(path, end_seconds=1.0)
    out = tower(plan)
    assert out.plan is plan
    assert out.report.stage("gate").milliseconds is None
    assert out.features.shape == (5, 96, 32)
    assert plan.timestamps_seconds == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    assert plan.num_kept == int(0.4 * 5 * 96)
    seen = torch.stack([torch.from_numpy(frame) for frame in plan.source_frames()]).numpy()
    keep = kept_patches(plan)
    visible = torch.cat([torch.ones(5, 1, dtype=torch.bool), keep], dim=1)
    want = model.forward_features(pixels_of(model, seen), attn_mask=visible[:, None, None])
    torch.testing.assert_close(out.features[keep], want[:, 1:][keep], **CLOSE)


@torch.no_grad()
def test_towers_without_fused_attention_and_in_half_precision_agree():
    frames = film()
    for name in ("vit_tiny_patch16_224", "vit_small_patch16_dinov3"):
        model = tower_model(name)
        tower = framegate.gate_tower(model, fps=2, tower_ratio=0.3)
        want = tower(frames).sequence
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(tower(frames).sequence.float(), want, rtol=0, atol=0.15)
        for block in model.blocks:
            block.attn.fused_attn = False
        torch.testing.assert_close(tower(frames).sequence, want, **CLOSE)


def test_gradients_reach_every_weight_also_through_checkpoints():
    grads = []
    for saves in (False, True):
        torch.manual_seed(0)
        model = tower_model("vit_small_patch16_rope_mixed_224", global_pool="avg", class_token=True)
        model.set_grad_checkpointing(saves)
        tower = framegate.gate_tower(model.train(), fps=2, tower_ratio=0.3)
        model.forward_head(tower(film()).sequence).square().sum().backward()
        grads.append({name: weight.grad for name, weight in model.named_parameters()})
        assert all(grad is not None and grad.abs().sum() > 0 for grad in grads[-1].values())
    for name, grad in grads[0].items():
        torch.testing.assert_close(grads[1][name], grad, msg=name)


def test_the_model_is_a_part_of_the_tower_and_stays_as_it_is():
    model = tower_model()
    before, names = dict(model.__dict__), list(model.state_dict())
    tower = framegate.gate_tower(model, tower_ratio=0.5)
    assert isinstance(tower, framegate.GatedTower)
    assert list(tower.state_dict()) == [f"model.{name}" for name in names]
    assert model.__dict__ == before


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("swin_tiny_patch4_window7_224", "windows"),
        ("samvit_base_patch16", "windows"),
        ("vit_relpos_small_patch16_224", "relative positions"),
        ("vit_tiny_r_s16_p8_224", "stem HybridEmbed"),
        ("deit_tiny_distilled_patch16_224", "its own _pos_embed"),
        ("resnet18", "supported are"),
    ],
)
def test_other_models_are_refused_by_name(name, why):
    # a hybrid's stem makes tensors of its own when it is built
    with torch.device("cpu" if "_r_" in name else "meta"):
        model = timm.create_model(name)
    with pytest.raises(UnsupportedModelError, match=f"{type(model).__name__} cannot be gated: .*{why}"):
        framegate.gate_tower(model)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"patch_drop_rate": 0.5}, "patch_drop_rate is 0.5"),
        ({"img_size": (62, 64)}, "62 x 64 px are no whole number of 8-px patches"),
        ({"in_chans": 1}, "of 1 channels"),
    ],
)
def test_towers_that_see_otherwise_are_refused(changed, why):
    with pytest.raises(UnsupportedModelError, match=why):
        framegate.gate_tower(tower_model(**changed))


def test_a_timm_that_calls_its_blocks_otherwise_is_refused(monkeypatch):
    monkeypatch.setattr(timm, "__version__", "1.0.16")
    with pytest.raises(UnsupportedModelError, match=r"timm 1\.0\.16 is installed.*1\.0\.31"):
        framegate.gate_tower(tower_model())


def test_the_lowest_timm_is_that_of_the_package():
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert set(re.findall(r'"timm>=([\d.]+)"', text)) == {timm_vit._LOWEST}


def test_blocks_that_keep_no_frames_apart_are_refused():
    class Plain(torch.nn.Module):
        def forward(self, x):
            return x

    model = tower_model()
    model.blocks[1] = Plain()
    with pytest.raises(UnsupportedModelError, match="attn_mask"):
        framegate.gate_tower(model)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"config": "gate"}, "refill False"),
        ({"config": "grt_released", "tower_ratio": None}, "mode 'reuse'"),
        ({"config": "down_scaling", "keep_ratio": 0.25}, "down_scaling"),
        ({"cell_patches": 3}, "8 x 8 patches"),
        ({"cell_patches": 0}, "cell_patches is 0"),
    ],
)
def test_configurations_that_leave_cells_without_features_are_refused(settings, why):
    with pytest.raises(ConfigError, match=why):
        framegate.gate_tower(tower_model(), **settings)


def test_plans_and_frames_of_others_are_refused():
    tower = framegate.gate_tower(tower_model(), fps=2, tower_ratio=0.5)
    with pytest.raises(PlanError, match="56 x 56 px in cells of 28 px.*takes 64 x 64 px in cells of 8 px"):
        tower(framegate.plan_video(film(), width_px=56, tower_ratio=0.5))
    with pytest.raises(FrameError):
        tower(film().astype(float) - 500)


def test_what_the_model_does_not_tell_is_noted():
    model = tower_model()
    del model.pretrained_cfg
    notes = framegate.gate_tower(model, fps=2)(film()).report.notes
    assert any("no mean and std: 0.5 assumed" in note for note in notes)
