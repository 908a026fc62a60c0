"""VidCom2: likeness by hand, shares that sum up exactly, and tokens that stay what they were."""

import numpy as np
import pytest
import torch

import framegate
from framegate.errors import BudgetError, ConfigError
from framegate.models.pruning.config import PruningConfig
from framegate.models.pruning.vidcom2 import KERNEL_WIDTHS, likeness, prune, tube_counts
from framegate.models.video_tokens import VideoTokens

CONFIG = PruningConfig()


def tokens_of(shapes, width=8, seed=0, layers=1):
    generator = torch.Generator().manual_seed(seed)
    cells = sum(t * h * w for t, h, w in shapes)
    features = [torch.randn(cells, width, generator=generator) for _ in range(layers)]
    return VideoTokens.of_cells(features, torch.ones(cells, dtype=torch.bool), torch.arange(cells), shapes)


def test_likeness_is_the_sum_of_gaussians_of_the_distance_to_the_means():
    features = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 0.0], [1.0, 0.0]])
    video, tube = likeness(features, torch.tensor([0, 0, 1, 1]), channel_share=1.0)
    # unit vectors (1,0) (0,1) (1,0) (1,0); the video's mean (.75, .25), those of the tubes (.5, .5) and (1, 0)
    squares = {"video": [0.125, 1.125, 0.125, 0.125], "tube": [0.5, 0.5, 0.0, 0.0]}
    want = {
        name: [sum(np.exp(-square / (2 * width)) for width in KERNEL_WIDTHS) for square in values]
        for name, values in squares.items()
    }
    np.testing.assert_allclose(video, want["video"], rtol=1e-6)
    np.testing.assert_allclose(tube, want["tube"], rtol=1e-6)


def test_channels_that_vary_most_are_left_out():
    features = torch.tensor([[1.0, 1.0, 50.0], [1.0, 2.0, -50.0], [1.0, 1.0, 90.0]])
    tube = torch.zeros(3, dtype=torch.long)
    changed = features.clone()
    changed[:, 2] *= -3
    for mine, other in zip(
        likeness(features, tube, channel_share=0.7), likeness(changed, tube, channel_share=0.7), strict=True
    ):
        assert torch.equal(mine, other)


def test_shares_follow_the_printed_rule_where_nothing_is_full():
    uniqueness, sizes = torch.tensor([0.0, 0.01 * float(np.log(3.0))]), torch.tensor([100, 100])
    # softmax at temperature .01: 1/4 and 3/4; ratio .2: .2 * (1 -/+ 1/4)
    assert tube_counts(uniqueness, sizes, 40, temperature=0.01).tolist() == [15, 25]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("wanted", [1, 4, 5, 17, 60, 99, 100])
def test_shares_sum_up_exactly_and_stay_within_their_tubes(wanted, seed):
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.tensor([30, 1, 20, 40, 9])
    counts = tube_counts(torch.randn(5, generator=generator), sizes, wanted, temperature=0.01)
    assert int(counts.sum()) == wanted
    assert bool((counts <= sizes).all())
    assert bool((counts >= min(1, wanted // 5)).all())


def test_the_tube_unlike_the_video_keeps_more_and_each_tube_its_outliers():
    features = torch.zeros(4 * 6, 4)
    features[:, 0] = 1
    features[6:12, :2] = torch.tensor([0.0, 1.0])  # the second tube is another scene
    features[3] = features[15] = torch.tensor(
        [0.0, 0.0, 1.0, 0.0]
    )  # an outlier in the first and in the third
    tokens = VideoTokens.of_cells([features], torch.ones(24, dtype=torch.bool), torch.arange(24), [(4, 2, 3)])
    pruned = prune(tokens, PruningConfig(channel_share=1.0), [8])
    counts = torch.bincount(pruned.tyx[:, 0], minlength=4).tolist()
    assert counts[1] == max(counts) > 2
    assert {3, 15} <= set(pruned.cell.tolist())


def test_what_stays_is_unchanged_in_order_and_in_every_layer():
    tokens = tokens_of([(3, 2, 4), (2, 3, 3)], layers=3)
    pruned = prune(tokens, CONFIG, [7, 5])
    assert pruned.counts == [7, 5]
    for layer, whole in zip(pruned.layers, tokens.layers, strict=True):
        assert torch.equal(layer, whole[pruned.cell])
    assert (pruned.source >= 0).sum() == 12
    assert prune(tokens, CONFIG, tokens.counts).num_tokens == tokens.num_tokens


def test_a_video_is_pruned_as_if_it_were_alone():
    both, alone = tokens_of([(3, 2, 4), (2, 3, 3)]), tokens_of([(3, 2, 4)])
    assert torch.equal(both.features[:24], alone.features)
    assert torch.equal(prune(both, CONFIG, [7, 5]).cell[:7], prune(alone, CONFIG, [7]).cell)


def test_after_a_gate_tubes_are_ragged_and_half_precision_will_do():
    tokens = tokens_of([(4, 2, 4)])
    keep = torch.rand(32, generator=torch.Generator().manual_seed(1)) < 0.5
    keep[:8], keep[16:24] = True, False  # a tube without a token
    rest = VideoTokens.of_cells(
        [tokens.features[keep].bfloat16()], keep, torch.where(keep, torch.arange(32), -1), [(4, 2, 4)]
    )
    pruned = prune(rest, CONFIG, [5])
    assert pruned.num_tokens == 5
    assert pruned.features.dtype == torch.bfloat16


def test_gradients_reach_the_tokens_that_stay():
    tokens = tokens_of([(3, 2, 4)])
    features = tokens.features.requires_grad_()
    pruned = prune(tokens.with_features(features), CONFIG, [6])
    pruned.features.sum().backward()
    assert features.grad.any(1).nonzero()[:, 0].tolist() == pruned.cell.tolist()


@pytest.mark.parametrize("counts", [[0, 5], [25, 5], [5]])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(BudgetError, match=r"\[24, 18\]"):
        prune(tokens_of([(3, 2, 4), (2, 3, 3)]), CONFIG, counts)


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"keep_ratio": None}, "pruning by 'vidcom2' goes by a budget"),
        ({"pruner": "evs"}, "vidcom2"),
        ({"channel_share": 0.0}, r"\(0, 1\]"),
        ({"uniqueness_temperature": 0.0}, "above 0"),
    ],
)
def test_wrong_settings_name_the_remedy(settings, hint):
    with pytest.raises(ConfigError, match=hint):
        framegate.load_config("vidcom2", **settings)
