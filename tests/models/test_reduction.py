"""Reduction: exact counts, the most similar neighbours first, and what is refused."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from framegate.errors import BudgetError
from framegate.models.stages.condensation import CondensationConfig
from framegate.models.stages.condensation.condense import condense
from framegate.models.stages.reduction import near_pairs, reduce_to
from framegate.models.video_tokens import VideoTokens


def gated(keep, features):
    """Tokens of a video [T, H, W] whose skipped cells show what was last kept there."""
    flat = keep.flatten(1)
    number = torch.arange(keep.numel()).reshape(flat.shape)
    anchor = torch.where(flat, number, -1).cummax(0).values.flatten()
    return VideoTokens.of_cells([features[keep]], keep.flatten(), anchor, [tuple(keep.shape)])


def dense(*shapes, width=4, seed=0):
    cells = sum(t * h * w for t, h, w in shapes)
    features = torch.randn(cells, width, generator=torch.Generator().manual_seed(seed))
    return VideoTokens.of_cells([features], torch.ones(cells, dtype=torch.bool), torch.arange(cells), shapes)


def line(*values):
    """A tube of one row whose tokens point at the given angles."""
    angles = torch.tensor(values)
    features = torch.stack([angles.cos(), angles.sin()], dim=1)
    return gated(torch.ones(1, 1, len(values)).bool(), features[None, None])


def test_neighbours_of_a_full_grid():
    place = torch.cartesian_prod(torch.arange(2), torch.arange(2), torch.arange(2))
    pairs = {tuple(pair) for pair in near_pairs(place).tolist()}
    time, row, column = ({(n, n + step) for n in range(8) if not n & step} for step in (4, 1, 2))
    assert pairs == time | row | column


def test_neighbours_over_gaps():
    place = torch.tensor([[0, 0, 0], [0, 0, 4], [0, 4, 0], [3, 4, 0], [3, 4, 4]])
    assert sorted(near_pairs(place).tolist()) == [[0, 1], [0, 2], [2, 3], [3, 4]]


def test_the_most_similar_neighbours_merge():
    tokens = line(0.0, 0.1, 1.0, 1.05, 2.0)
    left = reduce_to(tokens, [4])
    assert left.source.tolist() == [0, 1, 2, 2, 3]
    torch.testing.assert_close(left.features[2], tokens.features[2:4].mean(0))
    assert torch.equal(left.features[[0, 1, 3]], tokens.features[[0, 1, 4]])
    assert reduce_to(tokens, [3]).source.tolist() == [0, 0, 1, 1, 2]


def test_equal_tokens_that_are_no_neighbours_stay():
    assert reduce_to(line(0.0, 1.0, 0.0, 1.0, 1.3), [4]).source.tolist() == [0, 1, 2, 3, 3]


def test_a_merged_token_is_its_weighted_mean_to_the_next():
    # the pair in the middle merges first; weighted, its mean of 0.475 is nearer to the last token than to the first
    tokens = line(0.0, 0.4, 0.5, 0.9)
    source = torch.tensor([0, 1, 2, 3, -1, -1, 2, -1, -1, -1, 2, -1])
    heavy = VideoTokens(
        layers=tokens.layers,
        cell=tokens.cell,
        size=torch.tensor([1, 1, 3, 1]),
        source=source,
        age=torch.zeros_like(tokens.cell),
        shapes=((3, 1, 4),),
    )
    left = reduce_to(heavy, [2])
    assert left.source[:4].tolist() == [0, 1, 1, 1]
    assert left.size.tolist() == [1, 5]


def test_sizes_weigh():
    keep = torch.ones(3, 1, 2, dtype=torch.bool)
    keep[1:, 0, 0] = False
    features = torch.tensor([[[1.0, 0.0], [1.0, 0.4]]]).expand(3, 1, 2, 2).clone()
    features[1:, 0, 1] = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    left = reduce_to(gated(keep, features), [3])
    assert left.size.tolist() == [4, 1, 1]
    torch.testing.assert_close(left.features[0], torch.tensor([1.0, 0.1]))


def test_tokens_without_neighbours_merge_with_the_next_read():
    keep = torch.zeros(3, 3, 3, dtype=torch.bool)
    keep[0, 0, 0] = keep[1, 1, 1] = keep[2, 2, 2] = True
    tokens = gated(keep, torch.randn(3, 3, 3, 4))
    assert reduce_to(tokens, [2]).counts == [2]
    assert reduce_to(tokens, [1]).size.tolist() == [int(tokens.size.sum())]


@settings(max_examples=60)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.floats(0.1, 1), st.integers(0, 2**31))
def test_counts_are_exact_and_nothing_is_lost(tubes, rows, columns, density, seed):
    generator = torch.Generator().manual_seed(seed)
    keep = torch.rand(tubes, rows, columns, generator=generator) < density
    keep[0, 0, 0] = True
    tokens = gated(keep, torch.randn(tubes, rows, columns, 3, generator=generator))
    for wanted in {1, (tokens.num_tokens + 1) // 2, max(1, tokens.num_tokens - 1), tokens.num_tokens}:
        left = reduce_to(tokens, [wanted])
        assert left.counts == [wanted]
        assert torch.equal(torch.bincount(left.source[left.source >= 0], minlength=wanted), left.size)
        assert torch.equal(left.source >= 0, tokens.source >= 0)
        for number in range(wanted):
            members = torch.unique(tokens.source[left.source == number])
            weight = tokens.size[members, None].float()
            mean = (tokens.features[members] * weight).sum(0) / weight.sum()
            torch.testing.assert_close(left.features[number], mean)


def test_few_merges_are_those_of_the_greedy_order():
    tokens = dense((3, 5, 5), width=3, seed=7)
    pairs = near_pairs(tokens.tyx)
    alike = torch.cosine_similarity(tokens.features[pairs[:, 0]], tokens.features[pairs[:, 1]], dim=1)
    best = pairs[alike.argmax()].tolist()
    left = reduce_to(tokens, [74])
    assert left.source[best[0]] == left.source[best[1]]
    assert left.size.max() == 2


def test_a_batch_is_its_videos_alone():
    shapes, wanted = [(3, 4, 4), (1, 2, 2), (2, 3, 3)], [10, 4, 1]
    tokens = dense(*shapes)
    batch = reduce_to(tokens, wanted)
    assert batch.counts == wanted
    parts = tokens.features.split([t * h * w for t, h, w in shapes])
    alone = [
        reduce_to(gated(torch.ones(shape).bool(), part.reshape(*shape, -1)), [count])
        for shape, part, count in zip(shapes, parts, wanted, strict=True)
    ]
    assert torch.equal(batch.features, torch.cat([one.features for one in alone]))
    assert batch.size.tolist() == [size for one in alone for size in one.size.tolist()]


def test_nothing_to_reduce_gives_the_same_tokens():
    tokens = dense((2, 2, 2))
    assert reduce_to(tokens, [8]) is tokens
    empty = gated(torch.zeros(1, 2, 2).bool(), torch.randn(1, 2, 2, 3))
    assert reduce_to(empty, [0]) is empty


def test_what_condensation_leaves_can_be_reduced():
    condensed = condense(dense((2, 8, 8)), CondensationConfig()).tokens
    left = reduce_to(condensed, [5])
    assert left.counts == [5]
    assert int(left.size.sum()) == 128


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    tokens = dense((2, 3, 3))
    left = reduce_to(tokens.with_features(tokens.features.to(dtype)), [7])
    assert left.features.dtype == dtype
    assert left.counts == [7]


def test_zero_features_merge_too():
    tokens = dense((2, 2, 2))
    assert reduce_to(tokens.with_features(torch.zeros(8, 4)), [3]).counts == [3]


def test_gradients_reach_every_token_and_the_input_is_left_alone():
    tokens = dense((2, 3, 3))
    features = tokens.features.clone().requires_grad_()
    reduce_to(tokens.with_features(features), [4]).features.sum().backward()
    assert bool((features.grad > 0).all())
    assert torch.equal(features, tokens.features)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([0, 4], "Video 0 cannot be reduced to 0 tokens; it has 4: ask for 1 to 4"),
        ([4, 5], "Video 1 cannot be reduced to 5 tokens"),
        ([4], "1 counts for 2 videos"),
    ],
)
def test_counts_that_cannot_be_met_are_refused(counts, message):
    with pytest.raises(BudgetError, match=message):
        reduce_to(dense((1, 2, 2), (1, 2, 2)), counts)
