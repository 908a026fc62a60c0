"""Condensation: golden counts, which tubes are light, floors to the token, and what is refused."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from framegate.errors import ConfigError
from framegate.models.stages.condensation import CondensationConfig
from framegate.models.stages.condensation.condense import area_sides, condense, query_relevance
from framegate.models.video_tokens import VideoTokens


def gated(keep, features):
    """Tokens of a video [T, H, W] whose skipped cells show what was last kept there."""
    flat = keep.flatten(1)
    number = torch.arange(keep.numel()).reshape(flat.shape)
    anchor = torch.where(flat, number, -1).cummax(0).values.flatten()
    return VideoTokens.of_cells([features[keep]], keep.flatten(), anchor, [tuple(keep.shape)])


def dense(*shapes, width=3, seed=0):
    cells = sum(t * h * w for t, h, w in shapes)
    features = torch.randn(cells, width, generator=torch.Generator().manual_seed(seed))
    return VideoTokens.of_cells([features], torch.ones(cells, dtype=torch.bool), torch.arange(cells), shapes)


def only(tokens, video):
    """One video of a call, as a call of its own."""
    mine = tokens.video == video
    cells = [t * h * w for t, h, w in tokens.shapes]
    source = tokens.source.split(cells)[video]
    return VideoTokens(
        layers=tuple(layer[mine] for layer in tokens.layers),
        cell=tokens.cell[mine] - sum(cells[:video]),
        size=tokens.size[mine],
        source=torch.where(source >= 0, source - sum(tokens.counts[:video]), -1),
        age=torch.zeros_like(tokens.cell[mine] - sum(cells[:video])),
        shapes=(tokens.shapes[video],),
    )


def per_tube(tokens):
    """Tokens of each tube of the first video."""
    return torch.bincount(tokens.tyx[tokens.video == 0, 0], minlength=tokens.shapes[0][0]).tolist()


@pytest.mark.parametrize(("side", "light", "strong"), [(24, 144, 36), (27, 196, 49)])
def test_golden_counts(side, light, strong):
    tokens = dense((4, side, side))
    condensed = condense(tokens, CondensationConfig(), relevance=torch.tensor([0.0, 0.2, 0.9, 0.1]))
    assert per_tube(condensed.tokens) == [strong, strong, light, strong]
    assert condensed.area.tolist() == [[4, 4], [4, 4], [2, 2], [4, 4]]
    assert int(condensed.tokens.size.sum()) == tokens.num_cells


def test_pooled_tokens_are_means_of_areas_and_stand_in_their_middle():
    tokens = dense((1, 3, 4))
    condensed = condense(tokens, CondensationConfig(light_share=1.0)).tokens
    image = tokens.features.T.reshape(1, 3, 3, 4)  # [1, D, H, W]
    pooled = torch.nn.functional.avg_pool2d(image, 2, ceil_mode=True, count_include_pad=False)
    torch.testing.assert_close(condensed.features, pooled.flatten(2)[0].T)
    assert condensed.size.tolist() == [4, 4, 2, 2]
    assert condensed.source.tolist() == [0, 0, 1, 1, 0, 0, 1, 1, 2, 2, 3, 3]


def test_sizes_weigh():
    keep = torch.ones(2, 1, 2, dtype=torch.bool)
    keep[1, 0, 0] = False
    tokens = gated(keep, torch.tensor([[[[0.0], [3.0]]], [[[0.0], [9.0]]]]))
    left = condense(tokens, CondensationConfig(light_share=1.0)).tokens
    assert left.features.flatten().tolist() == [1.0, 9.0]
    assert left.size.tolist() == [3, 1]


@pytest.mark.parametrize(
    ("tubes", "share", "light"), [(4, 0.25, 1), (5, 0.25, 2), (30, 0.1, 3), (3, 0.0, 0), (3, 1.0, 3)]
)
def test_the_light_share_is_rounded_up(tubes, share, light):
    condensed = condense(dense((tubes, 4, 4)), CondensationConfig(light_share=share))
    assert sum(area == [2, 2] for area in condensed.area.tolist()) == light


def test_ties_go_to_the_earlier_tube_and_tubes_without_tokens_do_not_count():
    keep = torch.ones(5, 4, 4, dtype=torch.bool)
    keep[0] = False
    tokens = gated(keep, torch.randn(5, 4, 4, 2))
    condensed = condense(
        tokens, CondensationConfig(light_share=0.5), relevance=torch.tensor([9.0, 1, 1, 1, 0])
    )
    assert condensed.area.tolist() == [[1, 1], [2, 2], [2, 2], [4, 4], [4, 4]]
    assert per_tube(condensed.tokens) == [0, 4, 4, 1, 1]


def test_p_tokens_stay_unless_asked():
    keep = torch.ones(3, 4, 4, dtype=torch.bool)
    keep[1] = False
    keep[1, 0, :2] = True
    tokens = gated(keep, torch.randn(3, 4, 4, 2))
    key_only = condense(tokens, CondensationConfig()).tokens
    assert sorted(per_tube(key_only)) == [1, 2, 4]
    assert per_tube(key_only)[1] == 2
    every = condense(tokens, CondensationConfig(key_tubes_only=False, light_share=0.0)).tokens
    assert per_tube(every) == [1, 1, 1]


def test_ratio_as_a_count():
    sides = [
        area_sides(ratio, CondensationConfig(ratio_semantics="ratio")) for ratio in (1, 2, 3, 4, 6, 8, 9)
    ]
    assert sides == [(1, 1), (1, 2), (1, 3), (2, 2), (2, 3), (2, 4), (3, 3)]
    condensed = condense(dense((4, 24, 24)), CondensationConfig(ratio_semantics="ratio"))
    assert sorted(per_tube(condensed.tokens)) == [144, 144, 144, 288]


def test_novelty_finds_the_tube_that_is_new():
    pictures = torch.randn(2, 8)
    tokens = gated(torch.ones(4, 4, 4).bool(), pictures[[0, 0, 1, 1]][:, None, None].expand(4, 4, 4, 8))
    condensed = condense(tokens, CondensationConfig(light_share=0.5))
    assert condensed.area.tolist() == [[2, 2], [4, 4], [2, 2], [4, 4]]


def test_novelty_compares_tubes_that_are_condensed():
    keep = torch.ones(4, 4, 4, dtype=torch.bool)
    keep[1] = False
    keep[1, 0, 0] = True
    pictures = torch.randn(3, 8)
    features = pictures[[0, 1, 0, 2]][:, None, None].expand(4, 4, 4, 8)
    condensed = condense(gated(keep, features), CondensationConfig(light_share=0.5))
    assert condensed.area.tolist() == [[2, 2], [1, 1], [4, 4], [2, 2]]


def test_a_query_decides():
    pictures = torch.eye(4)
    tokens = gated(torch.ones(4, 4, 4).bool(), pictures[:, None, None].expand(4, 4, 4, 4))
    relevance = query_relevance(pictures[[3, 3]] + 0.1, tokens)
    assert relevance.argmax() == 3
    assert relevance.dtype == torch.float32
    condensed = condense(tokens, CondensationConfig(relevance="query"), relevance=relevance)
    assert condensed.area[:, 0].tolist() == [4, 4, 4, 2]


def test_a_query_per_video():
    tokens = dense((2, 1, 1), (2, 1, 1), width=2)
    first, second = tokens.features[[1]], tokens.features[[2]]
    relevance = query_relevance([first, second.expand(3, 2)], tokens)
    assert relevance[1].item() == pytest.approx(1)
    assert relevance[2].item() == pytest.approx(1)


def test_a_query_of_tubes_without_tokens_is_zero():
    keep = torch.ones(3, 2, 2, dtype=torch.bool)
    keep[0] = False
    assert query_relevance(torch.ones(1, 4), gated(keep, torch.ones(3, 2, 2, 4))).tolist() == [
        0,
        *[pytest.approx(1)] * 2,
    ]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (torch.ones(2, 5), "as wide as the video's"),
        (torch.ones(0, 3), "at least one token"),
        ([torch.ones(1, 3)] * 3, "3 queries for 2 videos"),
    ],
)
def test_queries_that_do_not_fit_are_refused(query, message):
    with pytest.raises(ConfigError, match=message):
        query_relevance(query, dense((1, 2, 2), (1, 2, 2)))


def test_without_a_query_the_error_says_so():
    with pytest.raises(ConfigError, match=r"query=.*novelty"):
        condense(dense((2, 2, 2)), CondensationConfig(relevance="query"))


@pytest.mark.parametrize("relevance", [torch.ones(3), torch.tensor([0.0, math.nan]), torch.ones(2, 1)])
def test_relevance_that_does_not_fit_is_refused(relevance):
    with pytest.raises(ConfigError, match="each of 2 tubes"):
        condense(dense((2, 2, 2)), CondensationConfig(), relevance=relevance)


def test_under_a_floor_the_least_relevant_tubes_go_first():
    tokens = dense((4, 4, 4))  # 4 x 16, to 4 + 3 x 1 without a floor
    relevance = torch.tensor([3.0, 1.0, 0.0, 2.0])
    found = {}
    for floor in (64, 63, 49, 48, 34, 19, 8, 7, 1):
        condensed = condense(tokens, CondensationConfig(), relevance=relevance, floor=[floor])
        found[floor] = per_tube(condensed.tokens)
        assert sum(found[floor]) == max(floor, 7)
    assert found[63] == [16, 16, 15, 16]
    assert found[49] == [16, 16, 1, 16]
    assert found[48] == [16, 15, 1, 16]
    assert found[19] == [16, 1, 1, 1]
    assert found[8] == [5, 1, 1, 1]
    assert found[7] == found[1] == [4, 1, 1, 1]


def test_in_part_the_plainest_areas_go_first_and_the_farthest_token_stays():
    features = torch.zeros(1, 2, 4, 1)
    features[0, :, :2, 0] = torch.tensor([[0.0, 0.1], [0.0, 1.0]])
    features[0, :, 2:, 0] = torch.tensor([[5.0, 5.1], [5.1, 5.0]])
    tokens = gated(torch.ones(1, 2, 4).bool(), features)
    left = condense(tokens, CondensationConfig(light_share=1.0), floor=[5])
    assert left.tokens.size.tolist() == [1, 1, 4, 1, 1]
    assert left.area.tolist() == [[1, 1]]
    left = condense(tokens, CondensationConfig(light_share=1.0), floor=[3])
    assert left.tokens.source.tolist() == [0, 0, 1, 1, 0, 2, 1, 1]


@settings(max_examples=60)
@given(
    st.integers(1, 5),
    st.integers(1, 6),
    st.integers(1, 6),
    st.booleans(),
    st.sampled_from(["stride", "ratio"]),
    st.integers(0, 2**31),
)
def test_floors_are_met_exactly_and_nothing_is_lost(tubes, rows, columns, key_only, semantics, seed):
    generator = torch.Generator().manual_seed(seed)
    keep = torch.rand(tubes, rows, columns, generator=generator) < 0.5
    keep[torch.rand(tubes, generator=generator) < 0.5] = True
    tokens = gated(keep, torch.randn(tubes, rows, columns, 3, generator=generator))
    config = CondensationConfig(key_tubes_only=key_only, ratio_semantics=semantics)
    free = condense(tokens, config).tokens
    for floor in {1, tokens.num_tokens // 3, tokens.num_tokens // 2, tokens.num_tokens + 1} - {0}:
        left = condense(tokens, config, floor=[floor]).tokens
        assert left.counts == [min(tokens.num_tokens, max(floor, free.num_tokens))]
        assert torch.equal(
            torch.bincount(left.source[left.source >= 0], minlength=left.num_tokens), left.size
        )
        assert torch.equal(left.source >= 0, tokens.source >= 0)


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.booleans())
def test_a_batch_is_its_videos_alone(seed, budget):
    tokens = dense((3, 4, 5), (1, 2, 2), (2, 3, 3), seed=seed)
    floors = [20, 4, 7] if budget else None
    batch = condense(tokens, CondensationConfig(), floor=floors)
    for video in range(3):
        alone = condense(only(tokens, video), CondensationConfig(), floor=floors and [floors[video]])
        mine = only(batch.tokens, video)
        assert torch.equal(mine.features, alone.tokens.features)
        assert torch.equal(mine.cell, alone.tokens.cell)
        assert torch.equal(mine.source, alone.tokens.source)


def test_every_layer_is_pooled_and_gradients_reach_every_token():
    tokens = dense((2, 3, 3))
    features = tokens.features.clone().requires_grad_()
    layered = VideoTokens(
        layers=(features, features * 2),
        cell=tokens.cell,
        size=tokens.size,
        source=tokens.source,
        age=torch.zeros_like(tokens.cell),
        shapes=tokens.shapes,
    )
    left = condense(layered, CondensationConfig(), floor=[6]).tokens
    torch.testing.assert_close(left.layers[1], left.layers[0] * 2)
    left.features.sum().backward()
    assert bool((features.grad > 0).all())


def test_standing_aside_is_noted():
    tokens = dense((2, 2, 2))
    within = condense(tokens, CondensationConfig(), floor=[8])
    assert within.tokens is tokens
    assert "8 tokens are within the budget" in within.notes[0]
    keep = torch.zeros(2, 2, 2, dtype=torch.bool)
    keep[:, 0] = True
    partly = condense(gated(keep, torch.randn(2, 2, 2, 2)), CondensationConfig())
    assert partly.notes == ("video 0: condensation stands aside, no tube is encoded whole",)


def test_videos_without_tokens():
    tokens = gated(torch.zeros(2, 2, 2).bool(), torch.randn(2, 2, 2, 3))
    for floor in (None, [1]):
        assert condense(tokens, CondensationConfig(key_tubes_only=False), floor=floor).tokens.counts == [0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"light_ratio": 0}, "light_ratio is 0; it must be at least 1"),
        ({"light_ratio": 5}, "light_ratio is 5 and strong_ratio 4"),
        ({"light_share": 1.5}, "light_share is 1.5"),
        ({"light_share": math.nan}, "light_share is nan"),
        ({"ratio_semantics": "area"}, "ratio_semantics is 'area'"),
        ({"relevance": "clip"}, "relevance is 'clip'"),
    ],
)
def test_settings_out_of_range_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        CondensationConfig(**values)
