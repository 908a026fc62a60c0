"""Apollo's connector and its stage: tokens a clip, clips apart, gradients at the queries, saved with the front end."""

import pytest
import torch
from safetensors.torch import save_file
from tiny import moving_frames, stock_inputs, stock_model, stock_processor

import framegate
from framegate.errors import ConfigError, FrameError
from framegate.models.apollo import ApolloConnector, ClipEncoder, FrameEncoder, Resampler
from framegate.models.stages.apollo import ApolloConfig
from framegate.models.stages.apollo.resample import ApolloStage, load_apollo
from framegate.models.stages.registry import StageCall
from framegate.models.video_tokens import VideoTokens
from framegate.tools.training import restore_front_end

SMALL = {"heads": 4, "kv_heads": 2, "head_dim": 4}
CONFIG = ApolloConfig(queries=8, resampler_heads=4, resampler_kv_heads=2, resampler_head_dim=4)
WIDTH = 16


def siglip():
    from transformers import SiglipVisionConfig, SiglipVisionModel

    return SiglipVisionModel(
        SiglipVisionConfig(
            hidden_size=12,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=32,
            patch_size=8,
        )
    )


def videomae():
    from transformers import VideoMAEConfig, VideoMAEModel

    return VideoMAEModel(
        VideoMAEConfig(
            hidden_size=8,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            image_size=16,
            patch_size=8,
            num_frames=8,
            tubelet_size=2,
        )
    )


def connector(width=WIDTH, **options):
    torch.manual_seed(0)
    encoders = [FrameEncoder(siglip()), ClipEncoder(videomae())]
    return ApolloConnector(encoders, width, grid=(4, 3, 3), **SMALL, **options)


def clips(count=3, frames=4, seed=1):
    return torch.rand(count, frames, 3, 24, 40, generator=torch.Generator().manual_seed(seed))


def grid_tokens(*shapes, seed=0):
    cells = sum(t * h * w for t, h, w in shapes)
    features = torch.randn(cells, WIDTH, generator=torch.Generator().manual_seed(seed))
    keep = torch.ones(cells, dtype=torch.bool)
    return VideoTokens.of_cells([features, features + 1], keep, torch.arange(cells), shapes)


def test_a_clip_is_128_tokens_whatever_the_others_are():
    model = connector().eval()
    with torch.no_grad():
        tokens = model(clips())
        assert tokens.shape == (3, 128, WIDTH)
        order = [2, 0, 1]
        torch.testing.assert_close(model(clips()[order]), tokens[order])
        assert model(clips(frames=1)).shape == (3, 128, WIDTH)  # pictures
    # queries start apart
    assert torch.cdist(tokens[0], tokens[0]).fill_diagonal_(1).min() > 1e-3
    model(clips()).square().sum().backward()
    assert model.resample.perceiver.latents.grad.abs().sum(1).min() > 0
    assert all(
        any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in encoder.parameters())
        for encoder in model.encoders
    )


def test_its_tokens_enter_a_stock_model():
    model = stock_model("qwen2_5_vl")
    config, made = model.config, connector(model.config.get_text_config().hidden_size)
    clip = [config.vision_start_token_id, *[config.video_token_id] * 128, config.vision_end_token_id]
    ids = torch.tensor([[65, *clip, 66, 67, *clip, 68]])
    out = model(
        input_ids=ids,
        video_grid_thw=torch.tensor([[4, 8, 16]] * 2),
        mm_token_type_ids=(ids == config.video_token_id) * 2,
        second_per_grid_ts=[0.5, 0.5],
        mm_encoder_outputs=ApolloConnector.media(made(clips(2))),
        labels=ids.masked_fill(ids == config.video_token_id, -100),
    )
    out.loss.backward()
    assert made.resample.perceiver.latents.grad.abs().sum() > 0


def test_towers_of_timm_are_encoders_as_well():
    timm = pytest.importorskip("timm")
    tower = timm.models.VisionTransformer(
        img_size=16, patch_size=8, embed_dim=8, depth=1, num_heads=2, num_classes=0
    )
    encoder = FrameEncoder(tower)
    with torch.no_grad():
        assert encoder(clips(2)).shape == (2, 8, 4, 2, 2)
        frames = clips(2)[0] * 2 - 1
        small = torch.nn.functional.interpolate(frames, (16, 16), mode="bilinear", antialias=True)
        wanted = tower.forward_features(small)[:, 1:]
        torch.testing.assert_close(encoder(clips(2))[0].permute(1, 2, 3, 0).flatten(1, 2), wanted)


def test_a_tower_that_joins_patches_is_told():
    timm = pytest.importorskip("timm")
    tower = timm.models.SwinTransformer(
        img_size=32, patch_size=4, embed_dim=8, depths=(1, 1), num_heads=(1, 1), window_size=4, num_classes=0
    )
    with pytest.raises(
        ConfigError, match=r"SwinTransformer gives .* for 64 patches: a tower that joins patches"
    ):
        FrameEncoder(tower)(clips(1))


def test_a_tower_that_tells_its_patches_by_its_tubes_is_an_encoder_as_well():
    from transformers import VivitConfig, VivitModel

    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    tower = VivitModel(VivitConfig(**sizes, image_size=16, num_frames=4, tubelet_size=[2, 8, 8])).eval()
    with torch.no_grad():
        found = ClipEncoder(tower, mean=(0, 0, 0), deviation=(1, 1, 1))(clips(2)[..., :16, :16])
        wanted = tower(clips(2)[..., :16, :16]).last_hidden_state[:, 1:]
    assert found.shape == (2, 8, 2, 2, 2)
    torch.testing.assert_close(found.flatten(2).transpose(1, 2), wanted)


def test_untrained_the_stage_pools_and_a_budget_is_met():
    stage, tokens = ApolloStage(CONFIG, WIDTH), grid_tokens((2, 4, 4), (1, 2, 3))
    pooled = stage(tokens)
    assert pooled.counts == [8, 6]
    torch.testing.assert_close(pooled.features[0], tokens.features[:4].mean(0))
    torch.testing.assert_close(pooled.layers[1][3], tokens.layers[1][12:16].mean(0))
    assert pooled.tyx[:8, 0].tolist() == [0] * 4 + [1] * 4  # each in the tube that it was read from
    assert int((pooled.source < 0).sum()) == 0
    assert stage(tokens, StageCall(targets=[5, 2], exact=True)).counts == [5, 2]
    by_tube = ApolloStage(ApolloConfig(queries=8, clip_tubes=1), WIDTH)
    assert by_tube(tokens, StageCall(targets=[11, 6], exact=True)).counts == [11, 6]
    assert by_tube(grid_tokens((3, 2, 2)), StageCall(targets=[2], exact=True)).counts == [2]
    with pytest.raises(ConfigError, match="asks for 20 tokens of a clip, and apollo.queries is 8"):
        stage(tokens, StageCall(targets=[20, 2], exact=True))
    assert stage(tokens, StageCall(targets=[20, 2])).counts == [8, 2]  # a cap


def test_clips_are_read_each_by_itself_and_queries_learn():
    stage, tokens = ApolloStage(CONFIG, WIDTH), grid_tokens((2, 2, 4), (1, 2, 4), (2, 2, 4))
    torch.nn.init.ones_(stage.gate)
    together = stage(tokens)
    starts = [0, 16, 24, 40]
    for number, shape in enumerate(tokens.shapes):
        alone = grid_tokens(shape)
        alone = alone.with_features(tokens.features[starts[number] : starts[number + 1]])
        torch.testing.assert_close(
            stage(alone).features, together.features[8 * number : 8 * number + 8], atol=1e-5, rtol=1e-4
        )
    together.features.square().sum().backward()
    assert stage.resampler.perceiver.latents.grad.abs().sum(1).min() > 0
    bare = ApolloStage(ApolloConfig(queries=8, pooled_start=False), WIDTH)
    torch.testing.assert_close(
        bare(grid_tokens((1, 2, 4))).features, bare.resampler(grid_tokens((1, 2, 4)).features[None])[0]
    )


def test_attached_it_reads_the_filled_grid_learns_and_comes_back(tmp_path):
    model, inputs = stock_model("qwen3_vl"), stock_inputs(
        stock_processor("qwen3_vl"), [[moving_frames(8)]], ["What moves?"]
    )  # fmt: skip
    settings = {
        "gate": {"refill": True},
        "tower_ratio": 0.5,
        "keep_ratio": 0.25,
        "apollo": {"queries": 32, "resampler_head_dim": 4},
    }
    front_end = framegate.attach(model, None, "gate", **settings)
    with torch.no_grad():
        plain = model(**inputs).logits
        front_end.module.gate.fill_(0.5)
        want = model(**inputs).logits
    report = front_end.report
    assert report.kept_tokens == round(0.25 * report.dense_tokens)
    flow = [(stage.name, stage.tokens_in, stage.tokens_out) for stage in report.stages]
    assert ("apollo", report.dense_tokens, report.kept_tokens) in flow  # refilled first
    assert not torch.equal(plain, want)
    model(**inputs, labels=inputs["input_ids"]).loss.backward()
    assert front_end.module.resampler.perceiver.latents.grad.abs().sum() > 0
    assert {name.split(".")[0] for name in front_end.state_dict()} == {"apollo"}
    front_end.save_pretrained(tmp_path)
    front_end.detach()
    again = framegate.attach(model, None, tmp_path)
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, want)
        again.module.gate.zero_()
    restore_front_end(again, tmp_path)
    assert again.module.gate == 0.5
    again.detach()
    with pytest.raises(ConfigError, match="apollo and spatiotemporal both learn"):
        framegate.attach(model, None, "gate", **settings, spatiotemporal={})
    (tmp_path / "front_end.safetensors").unlink()
    with pytest.raises(ConfigError, match="has stage 'apollo', which learns"):
        framegate.attach(model, None, tmp_path)


def test_bad_input_is_told(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file(ApolloStage(CONFIG, WIDTH).state_dict(), path)
    assert load_apollo(path, WIDTH, CONFIG).config == CONFIG
    with pytest.raises(
        ConfigError, match=r"another width or other settings: .* is \(.*16.*\) there.*width of 32"
    ):
        load_apollo(path, 32, CONFIG)
    with pytest.raises(ConfigError, match="another width or other settings"):
        load_apollo(path, WIDTH, ApolloConfig())
    with pytest.raises(ConfigError, match="cannot be read"):
        load_apollo(tmp_path / "nowhere", WIDTH, CONFIG)
    with pytest.raises(ConfigError, match="kv_heads is 3"):
        ApolloConfig(resampler_kv_heads=3)
    with pytest.raises(ConfigError, match="kv_heads must divide"):
        Resampler(8, heads=4, kv_heads=3)
    with pytest.raises(ConfigError, match="16 wide and has 8 queries"):
        ApolloStage(CONFIG, WIDTH).resampler(torch.zeros(1, 4, WIDTH), count=9)
    with pytest.raises(ConfigError, match="16 wide and the model's tokens are 8"):
        ApolloStage(CONFIG, WIDTH)(grid_tokens((1, 1, 2)).with_features(torch.zeros(2, 8)))
    with pytest.raises(ConfigError, match="channels are"):
        ApolloConnector([torch.nn.Identity()], 8)
    with pytest.raises(FrameError, match=r"\[N, F, 3, h, w\]"):
        connector()(torch.zeros(2, 3, 8, 8))
    with pytest.raises(FrameError, match="torch.uint8"):
        connector()(clips().byte())
    with pytest.raises(ConfigError, match="Identity has no image_size or crop_size"):
        FrameEncoder(torch.nn.Identity())
    with pytest.raises(ConfigError, match="SiglipVisionConfig has no num_frames or frames_per_clip"):
        ClipEncoder(siglip())
