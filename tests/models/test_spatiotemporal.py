"""The spatiotemporal module: the identity at first, trainable, ragged, and its weights on disk."""

import copy

import pytest
import torch
from safetensors.torch import save_file

from framegate.errors import ConfigError
from framegate.models.stages.registry import StageCall
from framegate.models.stages.spatiotemporal import SpatiotemporalConfig
from framegate.models.stages.spatiotemporal.module import (
    SpatiotemporalModule,
    load_spatiotemporal,
    side_embedding,
    time_embedding,
)
from framegate.models.video_tokens import VideoTokens

WIDTH = 16


def at(times_seconds):
    return StageCall(times_seconds=times_seconds)


CONFIG = SpatiotemporalConfig(time_heads=4, max_side=8)


def random_tokens(*shapes, seed=0, density=0.6, width=WIDTH):
    generator = torch.Generator().manual_seed(seed)
    cells = sum(t * h * w for t, h, w in shapes)
    keep = torch.rand(cells, generator=generator) < density
    keep[0] = True
    features = torch.randn(int(keep.sum()), width, generator=generator)
    anchor = torch.where(keep, torch.arange(cells), -1)
    return VideoTokens.of_cells([features, features + 1], keep, anchor, shapes)


def opened(module):
    """The same module with its gates open, as training leaves them."""
    module = copy.deepcopy(module)
    with torch.no_grad():
        module.time_gate += 0.5
        module.space_gate += 0.25
    return module


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("module_dtype", [torch.float32, torch.bfloat16])
def test_untrained_it_leaves_every_bit(dtype, module_dtype):
    tokens = random_tokens((3, 2, 4), (1, 3, 3))
    tokens = tokens.with_features(tokens.features.to(dtype))
    placed = SpatiotemporalModule(CONFIG, WIDTH).to(module_dtype)(
        tokens, at([torch.arange(3.0), torch.zeros(1)])
    )
    assert placed.features.dtype == dtype
    assert torch.equal(placed.features, tokens.features)
    assert placed.layers[1] is tokens.layers[1]
    assert placed.source is tokens.source


def test_untrained_its_gates_have_gradients():
    module = SpatiotemporalModule(CONFIG, WIDTH)
    features = module(random_tokens((3, 2, 4))).features
    (features * torch.randn(features.shape)).sum().backward()
    assert module.time_gate.grad.abs() > 1e-3
    assert module.space_gate.grad.abs() > 1e-3


def test_it_can_be_trained():
    torch.manual_seed(0)
    module = SpatiotemporalModule(CONFIG, WIDTH)
    tokens, wanted = random_tokens((4, 2, 4)), torch.randn(WIDTH)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    losses = []
    for _ in range(60):
        loss = (module(tokens).features.mean(0) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    assert all(weight.grad is not None for weight in module.parameters())


def test_the_formula():
    module = opened(SpatiotemporalModule(CONFIG, WIDTH))
    tokens, times = random_tokens((3, 2, 4), density=1.0), torch.tensor([0.0, 0.4, 7.0])
    means = tokens.features.reshape(3, 8, WIDTH).mean(1)  # [T, D]
    seen = module.norm(means + time_embedding(times, WIDTH))
    query, key, value = (seen @ module.attention.in_proj_weight.T + module.attention.in_proj_bias).chunk(3, 1)
    heads = [part.reshape(3, 4, 4).transpose(0, 1) for part in (query, key, value)]  # [heads, T, D / heads]
    mixed = torch.nn.functional.scaled_dot_product_attention(*heads).transpose(0, 1).reshape(3, WIDTH)
    learned = mixed @ module.attention.out_proj_weight.T + module.attention.out_proj_bias
    place = module.rows[:2, None] + module.columns[None, :4]  # [H, W, D]
    wanted = tokens.features.reshape(3, 2, 4, WIDTH) + 0.5 * learned[:, None, None] + 0.25 * place
    found = module(tokens, at([times])).features
    torch.testing.assert_close(found, wanted.reshape(-1, WIDTH), rtol=1e-5, atol=1e-5)


def test_times_matter_and_default_to_the_tubes_numbers():
    module, tokens = opened(SpatiotemporalModule(CONFIG, WIDTH)), random_tokens((3, 2, 4))
    default = module(tokens).features
    assert torch.equal(default, module(tokens, at([torch.tensor([0, 1, 2])])).features)
    assert not torch.allclose(default, module(tokens, at([torch.tensor([0.0, 1.0, 90.0])])).features)


def test_tubes_without_tokens_are_not_attended_to():
    module, tokens = opened(SpatiotemporalModule(CONFIG, WIDTH)), random_tokens((2, 2, 2), density=1.0)
    cell = torch.cat([tokens.cell[:4], tokens.cell[4:] + 4])
    gap = VideoTokens(
        layers=tokens.layers,
        cell=cell,
        size=tokens.size,
        source=torch.cat([tokens.source[:4], torch.full((4,), -1), tokens.source[4:]]),
        age=torch.zeros_like(cell),
        shapes=((3, 2, 2),),
    )
    wanted = module(tokens, at([torch.tensor([0.0, 5.0])])).features
    assert torch.equal(module(gap, at([torch.tensor([0.0, 2.0, 5.0])])).features, wanted)


def test_a_batch_is_its_videos_alone():
    module = opened(SpatiotemporalModule(CONFIG, WIDTH))
    videos = [random_tokens((3, 2, 4)), random_tokens((1, 3, 3), seed=1), random_tokens((2, 2, 2), seed=2)]
    times = [torch.rand(3), torch.rand(1), torch.rand(2)]
    starts = [0, *torch.tensor([video.num_cells for video in videos]).cumsum(0).tolist()]
    counts = [0, *torch.tensor([video.num_tokens for video in videos]).cumsum(0).tolist()]
    sources = [torch.where(v.source >= 0, v.source + n, -1) for v, n in zip(videos, counts, strict=False)]
    batch = VideoTokens(
        layers=(torch.cat([video.features for video in videos]),),
        cell=torch.cat([video.cell + start for video, start in zip(videos, starts, strict=False)]),
        size=torch.cat([video.size for video in videos]),
        source=torch.cat(sources),
        age=torch.zeros_like(
            torch.cat([video.cell + start for video, start in zip(videos, starts, strict=False)])
        ),
        shapes=tuple(shape for video in videos for shape in video.shapes),
    )
    alone = [module(video, at([seconds])).features for video, seconds in zip(videos, times, strict=True)]
    assert torch.equal(module(batch, at(times)).features, torch.cat(alone))


def test_a_video_without_tokens():
    empty = VideoTokens.of_cells(
        [torch.zeros(0, WIDTH)], torch.zeros(8).bool(), torch.full((8,), -1), [(2, 2, 2)]
    )
    assert opened(SpatiotemporalModule(CONFIG, WIDTH))(empty).num_tokens == 0


def test_long_sides_spread_the_table():
    table = torch.tensor([[0.0], [1.0], [4.0]])
    assert side_embedding(table, torch.arange(3), 3).flatten().tolist() == [0, 1, 4]
    assert side_embedding(table, torch.arange(2), 2).flatten().tolist() == [0, 1]
    assert side_embedding(table, torch.arange(5), 5).flatten().tolist() == [0, 0.5, 1, 2.5, 4]
    module = opened(SpatiotemporalModule(CONFIG, WIDTH))
    assert module(random_tokens((1, 20, 9))).features.isfinite().all()


def test_time_embedding_tells_seconds_and_hours_apart():
    times = torch.tensor([0.0, 0.5, 60.0, 3600.0, 3600.5])
    found = time_embedding(times, 64)
    assert found.shape == (5, 64)
    apart = torch.cdist(found, found) + torch.eye(5)
    assert apart.min() > 0.3
    assert time_embedding(times, 7)[:, -1].tolist() == [0] * 5


def test_times_are_seconds_to_the_tenth_in_bfloat16():
    module = opened(SpatiotemporalModule(CONFIG, WIDTH)).to(torch.bfloat16)
    tokens = random_tokens((2, 2, 4))
    first, second = (module(tokens, at([torch.tensor([0.0, time])])).features for time in (1800.0, 1803.0))
    assert not torch.equal(first, second)


def test_round_trip(tmp_path):
    module = opened(SpatiotemporalModule(CONFIG, WIDTH))
    path = tmp_path / "front_end.safetensors"
    save_file(module.state_dict(), path)
    again = load_spatiotemporal(path, WIDTH, CONFIG)
    assert again.state_dict().keys() == module.state_dict().keys()
    tokens = random_tokens((3, 2, 4))
    assert torch.equal(again(tokens).features, module(tokens).features)
    assert all(weight.requires_grad for weight in again.parameters())


def test_the_dtype_of_the_weights_is_kept(tmp_path):
    save_file(SpatiotemporalModule(CONFIG, WIDTH).bfloat16().state_dict(), tmp_path / "w.safetensors")
    assert load_spatiotemporal(tmp_path / "w.safetensors", WIDTH, CONFIG).rows.dtype == torch.bfloat16


def test_weights_of_another_model_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    save_file(SpatiotemporalModule(CONFIG, WIDTH).state_dict(), path)
    with pytest.raises(ConfigError, match="weights of another width.*16 features.*has 32"):
        load_spatiotemporal(path, 32, CONFIG)
    with pytest.raises(ConfigError, match="set max_side=8"):
        load_spatiotemporal(path, WIDTH, SpatiotemporalConfig(time_heads=4))
    with pytest.raises(ConfigError, match="16 wide.*32"):
        SpatiotemporalModule(CONFIG, WIDTH)(random_tokens((1, 2, 2), width=32))


def test_files_that_are_no_weights_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_spatiotemporal(tmp_path / "none.safetensors", WIDTH, CONFIG)
    (tmp_path / "text").write_text("no weights")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_spatiotemporal(tmp_path / "text", WIDTH, CONFIG)
    save_file({"other": torch.ones(1)}, tmp_path / "other")
    with pytest.raises(ConfigError, match="holds"):
        load_spatiotemporal(tmp_path / "other", WIDTH, CONFIG)


@pytest.mark.parametrize(
    "times", [[torch.arange(3)], [torch.arange(2), torch.arange(2)], [torch.zeros(2, 1)]]
)
def test_times_that_do_not_fit_are_refused(times):
    with pytest.raises(ConfigError, match=r"\[2\] tubes"):
        SpatiotemporalModule(CONFIG, WIDTH)(random_tokens((2, 2, 2)), at(times))


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="time_heads is 0"):
        SpatiotemporalConfig(time_heads=0)
    with pytest.raises(ConfigError, match="max_side is 1"):
        SpatiotemporalConfig(max_side=1)
    with pytest.raises(ConfigError, match="time_heads is 3; it must divide the model's width of 16"):
        SpatiotemporalModule(SpatiotemporalConfig(time_heads=3), WIDTH)
