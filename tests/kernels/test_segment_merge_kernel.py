"""segment_merge as a Triton kernel, against its reference."""

import pytest
import torch
from tolerances import assert_as_good

from framegate.kernels.dispatch import recording
from framegate.kernels.segment_merge import merge, rows_by_segment, segment_merge
from framegate.kernels.segment_merge.reference import shares_of

SHAPES = [(1, 1, 1), (7, 3, 3), (37, 65, 12), (64, 128, 64), (50, 130, 1)]


def case(rows, width, segments, dtype, device):
    """Every segment has a row, some rows are left out, sizes differ, rows are in no order."""
    segment = torch.randint(-1, segments, (rows,))
    segment[torch.randperm(rows)[:segments]] = torch.arange(segments)
    features = torch.randn(rows, width, dtype=torch.float64).to(dtype)
    size = torch.randint(1, 9, (rows,))
    return features.to(device), size.to(device), segment.to(device), segments


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_kernel_is_as_good_as_the_reference(shape, dtype, device):
    features, size, segment, count = case(*shape, dtype, device)
    with recording() as ran:
        found, total = segment_merge(features, size, segment, count, backend="triton")
        reference, wanted = segment_merge(features, size, segment, count, backend="torch")
    assert dict(ran) == {("segment_merge", "triton"): 1, ("segment_merge", "torch"): 1}
    assert_as_good(found, reference, segment_merge(features.double(), size, segment, count)[0])
    assert torch.equal(total, wanted)


def test_a_row_alone_keeps_its_bits(device):
    features = torch.randn(20, 33).bfloat16().to(device)
    size = torch.full((20,), 7, device=device)
    found, _ = segment_merge(features, size, torch.arange(20, device=device).flip(0), 20, backend="triton")
    assert torch.equal(found, features.flip(0))


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_what_is_left_out_is_never_read(backend, device):
    features = torch.randn(4, 5, device=device)
    features[1] = torch.nan
    segment = torch.tensor([0, -1, 0, 1], device=device)
    found, _ = segment_merge(features, torch.ones(4, device=device).long(), segment, 2, backend=backend)
    torch.testing.assert_close(found, torch.stack([features[[0, 2]].mean(0), features[3]]))


def test_no_rows(device):
    none = torch.zeros(0, dtype=torch.long, device=device)
    merged, total = segment_merge(torch.zeros(0, 4, device=device), none, none, 0, backend="triton")
    assert merged.shape == (0, 4)
    assert len(total) == 0


def test_strided_features_are_taken(device):
    features = torch.randn(6, 18, device=device)[:, ::2]
    size, segment = torch.ones(6, device=device).long(), torch.tensor([0, 0, 1, 1, 1, 2], device=device)
    features.requires_grad_()
    spread_out = torch.stack([segment, -segment], 1)[:, 0]
    assert not spread_out.is_contiguous()
    found, _ = segment_merge(features, size, spread_out, 3, backend="triton")
    wanted, _ = segment_merge(features, size, segment, 3, backend="torch")
    torch.testing.assert_close(found, wanted)
    weight = torch.randn(9, 3, device=device).T
    (grad,), (reference,) = (torch.autograd.grad(out, features, weight) for out in (found, wanted))
    torch.testing.assert_close(grad, reference)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64])
def test_gradients_are_those_of_the_reference(dtype, device):
    features, size, segment, count = case(23, 9, 6, dtype, device)
    weight = torch.randn(6, 9, dtype=torch.float64).to(device)
    grads = {}
    for name, given, backend in (
        ("kernel", features, "triton"),
        ("reference", features, "torch"),
        ("exact", features.double(), "torch"),
    ):
        leaf = given.clone().requires_grad_()
        merged, _ = segment_merge(leaf, size, segment, count, backend=backend)
        (merged.double() * weight).sum().backward()
        grads[name] = leaf.grad
    assert_as_good(grads["kernel"], grads["reference"], grads["exact"])
    assert bool((grads["kernel"][segment < 0] == 0).all())


def test_gradcheck(device):
    features, size, segment, count = case(8, 3, 4, torch.float64, device)
    features.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: segment_merge(x, size, segment, count, backend="triton")[0], features
    )


def test_registered_op_is_sound(device):
    features, size, segment, count = case(9, 5, 3, torch.float32, device)
    share, _ = shares_of(size, segment, count, features.dtype)
    arguments = (features.requires_grad_(), share, segment, *rows_by_segment(segment, count))
    torch.library.opcheck(merge, arguments)


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_compile_keeps_one_graph(backend, device):
    features, size, segment, count = case(9, 5, 3, torch.float32, device)

    def merged(x):
        return segment_merge(x * 2, size, segment, count, backend=backend)[0] + 1

    compiled = torch.compile(merged, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(features), merged(features))


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_full_size(dtype):
    features, size, segment, count = case(6144, 3584, 1500, dtype, "cuda")
    found, _ = segment_merge(features, size, segment, count, backend="triton")
    reference, _ = segment_merge(features, size, segment, count, backend="torch")
    assert_as_good(found, reference, segment_merge(features.double(), size, segment, count)[0])
    again, _ = segment_merge(features, size, segment, count, backend="triton")
    assert torch.equal(found, again)
