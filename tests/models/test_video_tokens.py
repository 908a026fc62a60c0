"""VideoTokens: provenance and mass through merges, where merged tokens stand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from framegate.models.video_tokens import VideoTokens


def dense_tokens(shapes, width=4, layers=1):
    cells = sum(t * h * w for t, h, w in shapes)
    features = [torch.arange(cells * width).reshape(cells, width).float() + layer for layer in range(layers)]
    every = torch.arange(cells)
    return VideoTokens.of_cells(features, torch.ones(cells, dtype=torch.bool), every, shapes)


def shown_by(tokens):
    """Features of the token that stands for each dense cell, [C, D]; zeros where none does."""
    shown = tokens.features[tokens.source.clamp(min=0)]
    return shown * (tokens.source >= 0)[:, None]


def test_of_cells_counts_what_anchors_stand_for():
    keep = torch.tensor([True, True, False, True, False, False])  # 3 tubes of 1 x 2
    anchor = torch.tensor([0, 1, 0, 3, -1, 3])
    tokens = VideoTokens.of_cells([torch.ones(3, 2)], keep, anchor, [(3, 1, 2)])
    assert tokens.cell.tolist() == [0, 1, 3]
    assert tokens.source.tolist() == [0, 1, 0, 2, -1, 2]
    assert tokens.size.tolist() == [2, 1, 2]
    assert tokens.tyx.tolist() == [[0, 0, 0], [0, 0, 1], [1, 0, 1]]


def test_places_and_counts_of_several_videos():
    tokens = dense_tokens([(2, 1, 2), (1, 2, 2)])
    assert tokens.counts == [4, 4]
    assert tokens.video.tolist() == [0] * 4 + [1] * 4
    assert tokens.tyx[4:].tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1]]


def test_merging_is_a_weighted_mean_on_every_layer():
    tokens = dense_tokens([(2, 1, 2)], layers=2)
    once = tokens.merged(torch.tensor([0, 1, 0, 2]))
    twice = once.merged(torch.tensor([0, 0, 1]))
    for layer, original in zip(twice.layers, tokens.layers, strict=True):
        torch.testing.assert_close(layer[0], original[[0, 1, 2]].mean(0))
        assert torch.equal(layer[1], original[3])
    assert twice.size.tolist() == [3, 1]
    assert twice.source.tolist() == [0, 0, 0, 1]


def test_a_merged_token_stands_in_its_earliest_tube_nearest_to_the_middle():
    tokens = dense_tokens([(2, 3, 3)])
    segment = torch.arange(18)
    segment[torch.tensor([0, 1, 2, 3, 4, 5, 6, 7, 8, 13])] = 0
    merged = tokens.merged(segment)
    assert merged.cell[merged.source[0]] == 4
    segment = torch.arange(18)
    segment[torch.tensor([0, 1])] = 0
    assert tokens.merged(segment).cell[0] == 0  # a tie goes to the earlier cell


def test_dropped_tokens_leave_their_cells_unshown():
    tokens = dense_tokens([(1, 1, 3)])
    left = tokens.merged(torch.tensor([5, -1, 3]))
    assert left.source.tolist() == [0, -1, 1]
    assert left.cell.tolist() == [0, 2]
    assert shown_by(left)[1].abs().sum() == 0
    assert torch.equal(shown_by(left)[[0, 2]], tokens.features[[0, 2]])


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.integers(1, 9), st.integers(0, 2**31))
def test_mass_is_conserved_and_unmerging_shows_the_segments_mean(tubes, rows, columns, segments, seed):
    tokens = dense_tokens([(tubes, rows, columns), (1, 1, 2)])
    generator = torch.Generator().manual_seed(seed)
    segment = torch.randint(0, segments, (tokens.num_tokens,), generator=generator)
    segment[tokens.video == 1] += segments
    merged = tokens.merged(segment)
    assert int(merged.size.sum()) == tokens.num_cells
    assert torch.equal(torch.bincount(merged.source), merged.size)
    assert torch.equal(merged.video[merged.source], tokens.video)
    for cell in range(tokens.num_cells):
        members = segment == segment[cell]
        torch.testing.assert_close(shown_by(merged)[cell], tokens.features[members].mean(0))
    again = merged.merged(torch.arange(merged.num_tokens))
    assert torch.equal(again.features, merged.features)
    assert torch.equal(again.cell, merged.cell)


def test_gradients_reach_every_merged_token():
    tokens = dense_tokens([(2, 1, 2)])
    features = tokens.features.clone().requires_grad_()
    tokens.with_features(features).merged(torch.tensor([0, 0, 1, 0])).features.sum().backward()
    assert (features.grad > 0).all()


def test_a_broken_order_is_our_own_mistake():
    with pytest.raises(AssertionError, match="order"):
        VideoTokens(
            layers=(torch.ones(2, 1),),
            cell=torch.tensor([1, 0]),
            size=torch.ones(2, dtype=torch.long),
            source=torch.tensor([0, 1]),
            age=torch.zeros_like(torch.tensor([1, 0])),
            shapes=((1, 1, 2),),
        )
