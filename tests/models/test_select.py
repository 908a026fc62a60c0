"""Refill and selection: every shown cell again, likeness by hand, exact shares, tokens that stay what they were."""

import numpy as np
import pytest
import torch

import framegate
from framegate.errors import ConfigError
from framegate.models.stages.refill import Refill
from framegate.models.stages.registry import StageCall
from framegate.models.stages.select import SelectConfig, select_rules
from framegate.models.stages.select.rules import KERNEL_WIDTHS, equal_counts, likeness
from framegate.models.stages.select.rules.vidcom2 import tube_counts
from framegate.models.stages.select.stage import TokenSelect
from framegate.models.video_tokens import VideoTokens


def selected(tokens, counts, **settings):
    return TokenSelect(SelectConfig(**{"select_rule": "vidcom2"} | settings))(
        tokens, StageCall(targets=counts)
    )


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
    # as many channels that vary more, which the score leaves out
    noise = 100 * torch.randn(4 * 6, 4, generator=torch.Generator().manual_seed(0))
    features = torch.cat([torch.zeros(4 * 6, 4), noise], dim=1)
    features[:, 0] = 1
    features[6:12, :2] = torch.tensor([0.0, 1.0])  # the second tube is another scene
    # an outlier in the first and in the third
    features[3, :4] = features[15, :4] = torch.tensor([0.0, 0.0, 1.0, 0.0])
    tokens = VideoTokens.of_cells([features], torch.ones(24, dtype=torch.bool), torch.arange(24), [(4, 2, 3)])
    pruned = selected(tokens, [8])
    counts = torch.bincount(pruned.tyx[:, 0], minlength=4).tolist()
    assert counts[1] == max(counts) > 2
    assert {3, 15} <= set(pruned.cell.tolist())


def test_what_stays_is_unchanged_in_order_and_in_every_layer():
    tokens = tokens_of([(3, 2, 4), (2, 3, 3)], layers=3)
    pruned = selected(tokens, [7, 5])
    assert pruned.counts == [7, 5]
    for layer, whole in zip(pruned.layers, tokens.layers, strict=True):
        assert torch.equal(layer, whole[pruned.cell])
    assert (pruned.source >= 0).sum() == 12
    assert selected(tokens, tokens.counts).num_tokens == tokens.num_tokens


def test_a_video_is_pruned_as_if_it_were_alone():
    both, alone = tokens_of([(3, 2, 4), (2, 3, 3)]), tokens_of([(3, 2, 4)])
    assert torch.equal(both.features[:24], alone.features)
    assert torch.equal(selected(both, [7, 5]).cell[:7], selected(alone, [7]).cell)


def test_after_a_gate_tubes_are_ragged_and_half_precision_will_do():
    tokens = tokens_of([(4, 2, 4)])
    keep = torch.rand(32, generator=torch.Generator().manual_seed(1)) < 0.5
    keep[:8], keep[16:24] = True, False  # a tube without a token
    rest = VideoTokens.of_cells(
        [tokens.features[keep].bfloat16()], keep, torch.where(keep, torch.arange(32), -1), [(4, 2, 4)]
    )
    pruned = selected(rest, [5])
    assert pruned.num_tokens == 5
    assert pruned.features.dtype == torch.bfloat16


def test_gradients_reach_the_tokens_that_stay():
    tokens = tokens_of([(3, 2, 4)])
    features = tokens.features.requires_grad_()
    pruned = selected(tokens.with_features(features), [6])
    pruned.features.sum().backward()
    assert features.grad.any(1).nonzero()[:, 0].tolist() == pruned.cell.tolist()


@pytest.mark.parametrize(
    ("settings", "hint"),
    [
        ({"keep_ratio": None}, "select by 'vidcom2' without a gate goes by a budget"),
        ({"select_rule": "evs"}, "vidcom2"),
        ({"select": {"min_tokens_per_tube": 2}}, "0 or 1"),
        ({"pruner": "vidcom2"}, "select_rule"),
    ],
)
def test_wrong_settings_name_the_remedy(settings, hint):
    with pytest.raises(ConfigError, match=hint):
        framegate.load_config("vidcom2", **settings)


def gated(tokens, keep):
    """What a gate leaves of a whole grid, cells in place: each skipped one has the last encoded one as its anchor."""
    shape = tokens.shapes[0]
    tube = torch.arange(shape[0]).repeat_interleave(shape[1] * shape[2]).reshape(shape)
    anchor = torch.where(keep.reshape(shape), tube, -1).cummax(0).values
    flat = torch.arange(keep.numel()).reshape(shape)
    anchor = torch.where(anchor >= 0, flat - (tube - anchor) * shape[1] * shape[2], -1).flatten()
    return VideoTokens.of_cells([layer[keep] for layer in tokens.layers], keep, anchor, [shape])


def test_refill_gives_every_shown_cell_its_anchors_features_at_every_layer():
    tokens = tokens_of([(4, 2, 3)], layers=3)
    keep = torch.rand(24, generator=torch.Generator().manual_seed(2)) < 0.4
    keep[0] = False
    left = gated(tokens, keep)
    call = StageCall()
    filled = Refill()(left, call)
    shown = left.source >= 0
    assert filled.cell.tolist() == shown.nonzero()[:, 0].tolist()
    for layer, whole in zip(filled.layers, tokens.layers, strict=True):
        assert torch.equal(layer, whole[left.cell[left.source[shown]]])
    assert torch.equal(filled.age, filled.tyx[:, 0] - left.tyx[left.source[shown], 0])
    assert bool((filled.age[keep[filled.cell]] == 0).all())
    assert torch.equal(filled.source[filled.cell], torch.arange(filled.num_tokens))
    assert any("never shown" in note for note in call.report.notes)


def test_refill_of_a_whole_grid_changes_nothing():
    tokens = tokens_of([(3, 2, 4), (2, 3, 3)])
    filled = Refill()(tokens)
    assert torch.equal(filled.features, tokens.features)
    assert torch.equal(filled.cell, tokens.cell)
    assert not filled.age.any()


def test_gradients_of_a_refilled_grid_add_up_at_the_anchor():
    tokens = tokens_of([(3, 1, 2)])
    keep = torch.tensor([True, True, False, True, False, False])
    left = gated(tokens, keep)
    features = left.features.clone().requires_grad_()
    Refill()(left.with_features(features)).features.sum().backward()
    assert features.grad[:, 0].tolist() == [3, 1, 2]


@pytest.mark.parametrize("rule", select_rules())
@pytest.mark.parametrize("wanted", [1, 3, 10, 41, 47])
def test_every_rule_meets_every_budget_and_is_deterministic(rule, wanted):
    tokens = tokens_of([(4, 3, 4), (2, 2, 2)])
    left = selected(tokens, [wanted, 100], select_rule=rule)
    assert left.counts == [wanted, 8]  # the second video has no more
    assert torch.equal(left.cell, selected(tokens, [wanted, 100], select_rule=rule).cell)
    assert torch.equal(left.features, tokens.features[left.cell])


def test_equal_shares_are_equal_and_hand_on_what_a_tube_cannot_take():
    assert equal_counts(torch.tensor([6, 6, 6, 6]), 8).tolist() == [2, 2, 2, 2]
    assert sorted(equal_counts(torch.tensor([6, 6, 6, 6]), 10).tolist()) == [2, 2, 3, 3]
    assert equal_counts(torch.tensor([1, 6, 0, 6]), 9).tolist() == [1, 4, 0, 4]
    assert equal_counts(torch.tensor([24] * 10), 24).sum() == 24


def test_latest_keeps_the_end():
    left = selected(tokens_of([(4, 2, 3)]), [9], select_rule="latest")
    assert torch.bincount(left.tyx[:, 0], minlength=4).tolist() == [0, 0, 3, 6]


def test_windows_hand_over_what_stands_still_once_and_again_in_the_next_window():
    tokens = tokens_of([(16, 2, 3)])
    keep = torch.zeros(96, dtype=torch.bool)
    keep[:6] = True  # the first tube stands for all
    keep[5 * 6 + 2] = keep[9 * 6 + 4] = True
    filled = Refill()(gated(tokens, keep), StageCall())
    left = selected(filled, [14], select_rule="windows")
    counts = torch.bincount(left.tyx[:, 0], minlength=16)
    assert counts[0] == counts[8] == 6
    assert (counts[5], counts[9]) == (1, 1)


def test_a_tube_never_goes_empty_where_one_token_each_is_asked_for():
    tokens = tokens_of([(5, 2, 3)])
    left = selected(tokens, [8], select_rule="latest", min_tokens_per_tube=1)
    assert int(torch.bincount(left.tyx[:, 0], minlength=5).min()) == 1
    assert left.num_tokens == 8


def test_a_rule_that_asks_for_the_question_needs_one():
    settings = SelectConfig(select_rule="change_floor", use_query=True)
    with pytest.raises(ConfigError, match="no text"):
        TokenSelect(settings)(tokens_of([(3, 2, 3)]), StageCall(targets=[6]))
    query = torch.randn(2, 8, generator=torch.Generator().manual_seed(3))
    tokens = tokens_of([(3, 2, 3)])
    asked = TokenSelect(settings)(tokens, StageCall(targets=[6], query=lambda: [query]))
    assert asked.num_tokens == 6


class OnDevice(torch.Tensor):
    """A tensor that notes what would wait for a device, `.cpu()`, and refuses what reads values in other ways."""

    reads = 0
    REFUSED = ("item", "tolist", "numpy", "__bool__", "__int__", "__float__", "nonzero", "unique", "bincount")

    @classmethod
    def __torch_function__(cls, function, types, arguments=(), named=None):
        if function.__name__ in cls.REFUSED:
            raise AssertionError(f"{function.__name__} waits for the device")
        found = super().__torch_function__(function, types, arguments, named or {})
        if function.__name__ == "cpu":
            cls.reads += 1
            return found.as_subclass(torch.Tensor)
        return found


@pytest.mark.parametrize("rule", select_rules())
def test_refill_and_selection_wait_for_the_device_once_a_video_at_most(rule):
    shapes, generator = [(4, 3, 4), (2, 3, 4)], torch.Generator().manual_seed(0)
    keep = torch.rand(72, generator=generator) < 0.4
    keep[:12] = keep[48:60] = True
    anchor = torch.arange(72)
    for cell in range(72):
        anchor[cell] = cell if keep[cell] else anchor[cell - 12]
    layers = [torch.randn(int(keep.sum()), 8, generator=generator) for _ in range(2)]
    call = StageCall(targets=[12, 6], change=torch.rand(72, generator=generator))
    stages = torch.nn.Sequential(Refill(), TokenSelect(SelectConfig(select_rule=rule)))

    def run(layers):
        tokens = VideoTokens.of_cells(layers, keep, anchor, shapes)
        return stages[1](stages[0](tokens, call), call)

    OnDevice.reads = 0
    found, want = run([layer.as_subclass(OnDevice) for layer in layers]), run(layers)
    assert OnDevice.reads == (0 if rule == "random" else 2)
    assert torch.equal(found.cell, want.cell)
    assert all(isinstance(layer, OnDevice) for layer in found.layers)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(found.layers, want.layers, strict=True))
