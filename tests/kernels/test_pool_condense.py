"""pool_condense: golden counts, by hand, against average pooling, and its gradients."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from framegate.kernels.pool_condense import area_segments, pool_condense


def grid(groups, rows, columns):
    return torch.cartesian_prod(torch.arange(groups), torch.arange(rows), torch.arange(columns)).reshape(
        -1, 3
    )


def square(count, side):
    return torch.full((count, 2), side)


@pytest.mark.parametrize(("side", "pooled", "count"), [(24, 2, 144), (24, 4, 36), (27, 2, 196), (27, 4, 49)])
def test_golden_counts(side, pooled, count):
    place = grid(1, side, side)
    merged, size, _ = pool_condense(
        torch.ones(side * side, 1), torch.ones(side * side).long(), place, square(side * side, pooled)
    )
    assert len(merged) == count
    assert int(size.sum()) == side * side


def test_by_hand():
    place = torch.tensor([[0, 0, 0], [0, 0, 1], [0, 2, 2], [3, 1, 1]])
    features = torch.tensor([[1.0], [4.0], [7.0], [9.0]])
    merged, size, segment = pool_condense(features, torch.tensor([1, 2, 1, 5]), place, square(4, 2))
    assert segment.tolist() == [0, 0, 1, 2]
    assert size.tolist() == [3, 1, 5]
    assert merged.flatten().tolist() == [3.0, 7.0, 9.0]


@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.integers(1, 5))
def test_a_full_grid_is_average_pooling_with_ceiling(groups, rows, columns, high, wide):
    place = grid(groups, rows, columns)
    features = torch.randn(len(place), 3)
    area = torch.tensor([[high, wide]]).expand(len(place), 2)
    merged, _, _ = pool_condense(features, torch.ones(len(place)).long(), place, area)
    image = features.reshape(groups, rows, columns, 3).permute(0, 3, 1, 2)  # [G, D, H, W]
    pooled = torch.nn.functional.avg_pool2d(image, (high, wide), ceil_mode=True, count_include_pad=False)
    wanted = pooled.permute(0, 2, 3, 1).reshape(-1, 3)  # [G*ceil(H/a)*ceil(W/b), D]
    torch.testing.assert_close(merged, wanted)


@given(st.integers(1, 60), st.integers(0, 2**31))
def test_sparse_grids_keep_mass_and_order(count, seed):
    generator = torch.Generator().manual_seed(seed)
    place = torch.randint(0, 7, (count, 3), generator=generator)
    area = torch.randint(1, 4, (7, 2), generator=generator)[place[:, 0]]
    size = torch.randint(1, 5, (count,), generator=generator)
    features = torch.randn(count, 2, generator=generator, dtype=torch.float64)
    merged, total, segment = pool_condense(features, size, place, area)
    assert int(total.sum()) == int(size.sum())
    torch.testing.assert_close((merged * total[:, None]).sum(0), (features * size[:, None]).sum(0))
    key = torch.cat([place[:, :1], place[:, 1:] // area], dim=1).tolist()
    assert [tuple(cell) for cell in key] == [sorted(set(map(tuple, key)))[number] for number in segment]


def test_area_of_one_is_the_identity():
    place = grid(2, 3, 3)
    features = torch.randn(18, 5).bfloat16()
    merged, _, segment = pool_condense(features, torch.full((18,), 3), place, square(18, 1))
    assert torch.equal(merged, features)
    assert segment.tolist() == list(range(18))


def test_no_rows():
    empty = torch.zeros(0, dtype=torch.long)
    merged, size, segment = pool_condense(torch.zeros(0, 4), empty, empty.reshape(0, 3), empty.reshape(0, 2))
    assert merged.shape == (0, 4)
    assert len(size) == len(segment) == 0


def test_gradients():
    features = torch.randn(9, 2, dtype=torch.float64, requires_grad=True)
    size = torch.arange(1, 10)
    assert torch.autograd.gradcheck(
        lambda x: pool_condense(x, size, grid(1, 3, 3), square(9, 2))[0], features
    )


@pytest.mark.parametrize(
    ("place", "area", "message"),
    [
        ([[0, 0, -1]], [[2, 2]], "place must be 0 or more"),
        ([[0, 0, 0]], [[2, 0]], "area 1 or more"),
        ([[1, 0, 0], [1, 0, 1]], [[2, 2], [4, 4]], "group 1 has several"),
        ([[0, 0]], [[2, 2]], "must be"),
        ([[0, 0, 0]], [[2, 2], [2, 2]], "must be"),
    ],
)
def test_what_cannot_be_pooled_is_refused(place, area, message):
    with pytest.raises(ValueError, match=message):
        area_segments(torch.tensor(place), torch.tensor(area))
