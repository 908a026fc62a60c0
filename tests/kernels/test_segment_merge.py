"""segment_merge: by hand, by property, and its gradients."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from framegate.kernels.segment_merge import segment_merge


def test_by_hand():
    features = torch.tensor([[1.0, 0.0], [4.0, 2.0], [7.0, 7.0], [9.0, 9.0]])
    merged, size = segment_merge(features, torch.tensor([1, 2, 5, 1]), torch.tensor([1, 1, 0, -1]), 2)
    assert size.tolist() == [5, 3]
    torch.testing.assert_close(merged, torch.tensor([[7.0, 7.0], [3.0, 4 / 3]]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_a_lone_row_keeps_its_bits(dtype):
    features = torch.randn(7, 33, dtype=torch.float64).to(dtype)
    merged, _ = segment_merge(features, torch.full((7,), 3), torch.arange(7).flip(0), 7)
    assert torch.equal(merged, features.flip(0))


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 2**31))
def test_mass_and_mean_are_conserved(rows, segments, seed):
    generator = torch.Generator().manual_seed(seed)
    segment = torch.randint(0, segments, (rows,), generator=generator)
    _, segment = torch.unique(segment, return_inverse=True)
    size = torch.randint(1, 9, (rows,), generator=generator)
    features = torch.randn(rows, 3, generator=generator)
    merged, total = segment_merge(features, size, segment, int(segment.max()) + 1)
    assert int(total.sum()) == int(size.sum())
    torch.testing.assert_close(
        (merged * total[:, None]).sum(0), (features * size[:, None]).sum(0), rtol=1e-4, atol=1e-4
    )


def test_half_precision_accumulates_in_float32():
    features = torch.full((4096, 1), 1.0, dtype=torch.float16)
    merged, _ = segment_merge(features, torch.ones(4096, dtype=torch.long), torch.zeros(4096).long(), 1)
    assert merged.item() == 1.0


def test_no_rows():
    merged, size = segment_merge(torch.zeros(0, 5), torch.zeros(0).long(), torch.zeros(0).long(), 0)
    assert merged.shape == (0, 5)
    assert size.shape == (0,)


def test_gradients():
    features = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    size, segment = torch.tensor([1, 2, 3, 1, 1, 4]), torch.tensor([0, 2, 1, -1, 0, 2])
    assert torch.autograd.gradcheck(lambda x: segment_merge(x, size, segment, 3)[0], features)


@pytest.mark.parametrize(
    ("size", "segment", "count", "message"),
    [
        ([1, 1], [0, 2], 2, "segment must lie"),
        ([1, 1], [0, -2], 2, "segment must lie"),
        ([1, 0], [0, 1], 2, "size must be at least 1"),
        ([1, 1], [0, 0], 2, "Segment 1 of 2 has no row"),
        ([1, 1, 1], [0, 0], 2, "must be"),
    ],
)
def test_what_cannot_be_merged_is_refused(size, segment, count, message):
    with pytest.raises(ValueError, match=message):
        segment_merge(torch.ones(2, 3), torch.tensor(size), torch.tensor(segment), count)
