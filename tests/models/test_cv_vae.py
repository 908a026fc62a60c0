"""The causal video VAE: the image VAE at one frame, causal, the same in windows; its losses; latents as tokens."""

import json
from argparse import Namespace
from pathlib import Path
from runpy import run_path

import pytest
import torch

from framegate.errors import ConfigError, FrameError
from framegate.models.cv_vae import (
    CausalVideoVAE,
    LatentVideoTokens,
    decoder_regularisation,
    encoder_regularisation,
    frames_of_latents,
)
from framegate.models.tiny import tiny_model

diffusers = pytest.importorskip("diffusers")


def image_vae(levels=4, kind="", **options):
    torch.manual_seed(0)
    return diffusers.AutoencoderKL(
        block_out_channels=(8,) * levels,
        down_block_types=(f"{kind}DownEncoderBlock2D",) * levels,
        up_block_types=(f"{kind}UpDecoderBlock2D",) * levels,
        norm_num_groups=4,
        **options,
    ).eval()


@pytest.fixture(scope="module")
def stock():
    return image_vae()


@pytest.fixture
def inflated(stock):
    return CausalVideoVAE.from_image_vae(stock).eval()


@pytest.fixture
def trained(inflated):
    """As after training: the weights on earlier frames are no longer 0."""
    torch.manual_seed(1)
    for name, weight in inflated.named_parameters():
        if ".before." in name:
            torch.nn.init.normal_(weight, std=0.1)
    return inflated


def video(frames, side_px=16, batch=1):
    return torch.rand(batch, 3, frames, side_px, side_px, generator=torch.Generator().manual_seed(2)) * 2 - 1


@torch.no_grad()
def test_one_frame_is_the_image_vae_to_the_bit(stock, inflated):
    picture = video(1, batch=2)
    wanted = stock.encode(picture[:, :, 0]).latent_dist.mode().contiguous()
    latents = inflated.encode(picture)
    assert torch.equal(latents[:, :, 0], wanted)
    assert torch.equal(inflated.decode(latents)[:, :, 0], stock.decode(wanted).sample)


@torch.no_grad()
def test_a_latent_stands_for_four_frames_and_the_first_for_one(stock, inflated):
    clip = video(17)
    latents = inflated.encode(clip)
    assert latents.shape == (1, 4, 5, 2, 2)
    assert inflated.decode(latents).shape == clip.shape
    # before training: the latents of every fourth frame
    wanted = stock.encode(clip[0, :, ::4].transpose(0, 1)).latent_dist.mode().contiguous()
    assert torch.allclose(latents[0].transpose(0, 1), wanted, atol=1e-5)


@torch.no_grad()
def test_no_latent_and_no_frame_knows_what_comes_later(trained):
    clip, changed = video(9), video(9)
    changed[:, :, 6] += 0.5  # seen by the third latent, frames 5 to 8
    was, now = trained.encode(clip), trained.encode(changed)
    assert torch.equal(was[:, :, :2], now[:, :, :2])
    assert not torch.allclose(was[:, :, 2], now[:, :, 2])
    shown, again = trained.decode(was), trained.decode(now)
    assert torch.equal(shown[:, :, :5], again[:, :, :5])
    assert not torch.allclose(shown[:, :, 5:], again[:, :, 5:])


@torch.no_grad()
def test_windows_give_what_the_whole_gives(trained):
    clip, window = video(13), 4
    whole = trained.encode(clip)
    assert (trained.encode(clip, window_frames=window) - whole).abs().max() < 1e-5
    shown = trained.decode(whole)
    assert (trained.decode(whole, window_latents=window // 4) - shown).abs().max() < 1e-5


def test_a_frame_for_each_latent():
    clip = torch.arange(9.0).reshape(1, 1, 9, 1, 1)
    pick = lambda **how: frames_of_latents(clip, **how).flatten().tolist()  # noqa: E731
    assert pick(mapping="first") == [0, 1, 5]
    assert pick(mapping="slice") == [0, 4, 8]
    assert pick(mapping="average") == [0, 2.5, 6.5]
    drawn = {tuple(pick(generator=torch.Generator().manual_seed(seed))) for seed in range(40)}
    assert {first for first, *_ in drawn} == {0}
    assert {second for _, second, _ in drawn} == {1, 2, 3, 4}
    assert {third for *_, third in drawn} == {5, 6, 7, 8}


def test_a_few_steps_lower_the_loss_and_leave_the_image_vae_alone(stock, inflated):
    stock.requires_grad_(False)
    clip = video(5, side_px=16)
    torch.manual_seed(3)
    optimiser = torch.optim.Adam(inflated.parameters(), lr=3e-3)
    losses = []
    for _ in range(3):
        latents, spread = inflated.moments(clip)
        loss = (inflated.decode(latents) - clip).abs().mean() + 1e-6 * spread.square().mean()
        loss = loss + decoder_regularisation(latents, clip, image_vae=stock, mapping="slice")
        loss = loss + encoder_regularisation(clip, video_vae=inflated, image_vae=stock, mapping="slice")
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    moved = [
        name for name, weight in inflated.named_parameters() if ".before." in name and weight.abs().sum() > 0
    ]
    assert any(name.startswith("encoder") for name in moved)
    assert any(name.startswith("decoder") for name in moved)
    assert all(weight.grad is None for weight in stock.parameters())


def test_saved_weights_come_back_and_others_are_refused(trained, tmp_path):
    trained.save_pretrained(tmp_path)
    again = CausalVideoVAE.from_pretrained(tmp_path)
    with torch.no_grad():
        assert torch.equal(again.encode(video(5)), trained.encode(video(5)))
    path = tmp_path / "video_vae_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"block_out_channels": [16] * 4}))
    with pytest.raises(ConfigError, match=r"is \(8.*\), and \(16.*\) is wanted"):
        CausalVideoVAE.from_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="holds no video VAE"):
        CausalVideoVAE.from_pretrained(tmp_path / "nowhere")


def test_a_training_that_was_saved_goes_on_under_its_settings_alone(tmp_path):
    learn = run_path(str(Path(__file__).parents[2] / "examples/cv_vae.py"))["learn"]
    given = Namespace(out=tmp_path, device="cpu", save_every=1, seed=0, video_steps=2)
    model = torch.nn.Linear(1, 1)
    how = {"loss_of": lambda _: model(torch.ones(1)).sum(), "steps": 2, "learning_rate": 0.1}
    learnt = learn("video_vae", model, **how, given=given).weight.clone()
    assert torch.equal(learn("video_vae", model, **how, given=given).weight, learnt)  # nothing is left to do
    with pytest.raises(ConfigError, match="trained with seed 0, not 1"):
        learn("video_vae", model, **how, given=Namespace(**vars(given) | {"seed": 1}))


def test_bad_input_is_told(stock, inflated):
    cases = [
        (video(6), "6 frames.* for example 5 or 9"),
        (video(3), "3 frames.* for example 1 or 5"),
        (video(5, side_px=20), "20 x 20 px.*them to 16 x 16"),
        (video(5)[0], "give floats"),
        ((video(5) * 255).byte(), "torch.uint8"),
    ]
    for pixels, message in cases:
        with pytest.raises(FrameError, match=message):
            inflated.encode(pixels)
    with pytest.raises(FrameError, match="6 frames.* for example 5 or 9"):
        inflated.encode(video(6), window_frames=4)
    with pytest.raises(FrameError, match="2 frames.* 4 k, after the first.* 4 or 8"):
        list(inflated.encode_stream([video(5), video(2)]))
    with pytest.raises(ConfigError, match="window of 6"):
        inflated.encode(video(9), window_frames=6)
    with pytest.raises(FrameError, match=r"decodes \[B, 4"):
        inflated.decode(torch.zeros(1, 5, 2, 2, 2))
    with pytest.raises(ConfigError, match="3 levels"):
        CausalVideoVAE.from_image_vae(image_vae(levels=3))
    with pytest.raises(ConfigError, match="AttnDownEncoderBlock2D"):  # its attention would be left out
        CausalVideoVAE.from_image_vae(image_vae(kind="Attn"))
    with pytest.raises(ConfigError, match="Linear is no image VAE"):
        CausalVideoVAE.from_image_vae(torch.nn.Linear(1, 1))
    with pytest.raises(ConfigError, match="mapping is 'last'"):
        frames_of_latents(video(5), mapping="last")
    for latents, pixels in [
        ((1, 4, 3, 2, 2), video(5)),
        ((1, 4, 2, 3, 3), video(5)),
        ((1, 4, 1, 2, 2), video(1, batch=2)),
    ]:
        with pytest.raises(FrameError, match=rf"Latents are .* of pixels \({len(pixels)}, 3"):
            decoder_regularisation(torch.zeros(latents), pixels, image_vae=stock)
    with pytest.raises(FrameError, match="48 px divides"):
        LatentVideoTokens(inflated, 8, patch=6)(video(5))


def test_latents_are_the_tokens_that_a_stock_model_reads(inflated):
    model = tiny_model("qwen2_5_vl")
    width, ids = model.config.get_text_config().hidden_size, model.config
    source = LatentVideoTokens(inflated, width, patch=1)
    tokens = source(video(9, batch=2))
    assert tokens.shapes == ((3, 2, 2), (3, 2, 2))
    # each token is the latent at its place
    latents = inflated.encode(video(9, batch=2))
    assert torch.allclose(tokens.features[5], source.project(source.norm(latents[0, :, 1, 0, 1])), atol=1e-6)
    turn = [ids.vision_start_token_id, *[ids.video_token_id] * 12, ids.vision_end_token_id, 65]
    prompt = torch.tensor([turn, turn])
    out = model(
        input_ids=prompt,
        video_grid_thw=torch.tensor([[3, 4, 4]] * 2),
        mm_token_type_ids=(prompt == ids.video_token_id) * 2,
        second_per_grid_ts=[1.0, 1.0],
        mm_encoder_outputs=LatentVideoTokens.media(tokens),
        labels=prompt.masked_fill(prompt == ids.video_token_id, -100),
    )
    out.loss.backward()
    assert source.project.weight.grad.abs().sum() > 0
    assert inflated.encoder.conv_in.weight.grad.abs().sum() > 0
