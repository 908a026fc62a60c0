"""scene_divergence as a Triton kernel, against its reference."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import assert_as_good

from framegate.errors import BackendError
from framegate.kernels.dispatch import recording
from framegate.kernels.scene_divergence import diverge, scene_divergence

KINDS = ["jensen_shannon", "reversed"]
SHAPES = [(1, 1, 1), (1, 5, 3), (3, 4, 33), (2, 9, 600), (3, 5, 4500)]
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # for properties, which take no fixtures


def distributions(rows, values, dtype, device, *, zeros=0.0):
    logits = torch.randn(rows, values, dtype=torch.float64)
    logits[:, 1:][torch.rand(rows, values - 1) < zeros] = -torch.inf
    return logits.softmax(1).to(dtype).to(device)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_kernel_is_as_good_as_the_reference(shape, dtype, kind, device):
    rows, others, values = shape
    p, q = distributions(rows, values, dtype, device), distributions(others, values, dtype, device)
    with recording() as ran:
        found = scene_divergence(p, q, kind=kind, backend="triton")
        reference = scene_divergence(p, q, kind=kind, backend="torch")
    assert dict(ran) == {("scene_divergence", "triton"): 1, ("scene_divergence", "torch"): 1}
    assert_as_good(found, reference, scene_divergence(p.double(), q.double(), kind=kind))


@pytest.mark.parametrize("kind", KINDS)
def test_series_and_logarithms_agree_with_the_reference_pair_by_pair(kind, device):
    skew = torch.cat([torch.logspace(-4, -0.4, 20), torch.linspace(0.48, 0.52, 9), torch.tensor([0.8, 0.99])])
    p = torch.stack([1 + skew, 1 - skew], dim=1).to(device) / 2
    pairs = list(zip(p.split(1), p.flip(1).split(1), strict=True))
    found = torch.cat([scene_divergence(*pair, kind=kind, backend="triton") for pair in pairs])
    exact = torch.cat([scene_divergence(a.double(), b.double(), kind=kind) for a, b in pairs])
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=0)


@settings(max_examples=15)
@given(st.integers(1, 6), st.integers(2, 40), st.sampled_from(KINDS), st.integers(0, 2**31))
def test_symmetric_bit_by_bit_and_zero_only_for_equal_rows(rows, values, kind, seed):
    torch.manual_seed(seed)
    p = distributions(rows, values, torch.float32, DEVICE)
    divergence = scene_divergence(p, kind=kind, backend="triton")
    assert torch.equal(divergence, divergence.T)
    assert torch.equal(divergence == 0, torch.eye(rows, dtype=torch.bool, device=DEVICE))


@settings(max_examples=15)
@given(st.integers(1, 6), st.integers(2, 40), st.integers(0, 2**31))
def test_bounds_and_infinities_are_those_of_the_reference(rows, values, seed):
    torch.manual_seed(seed)
    p = distributions(rows, values, torch.float32, DEVICE, zeros=0.5)
    shannon = scene_divergence(p, backend="triton")
    assert bool((shannon >= 0).all())
    assert shannon.max().item() <= torch.tensor(math.log(2)).item()
    torch.testing.assert_close(shannon, scene_divergence(p, backend="torch"), rtol=1e-5, atol=1e-7)
    found = scene_divergence(p, kind="reversed", backend="triton")
    torch.testing.assert_close(
        found, scene_divergence(p, kind="reversed", backend="torch"), rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_reversed_is_finite_where_neither_value_is_zero(backend, device):
    """One value 2^60 times the other: their difference rounds to the larger one."""
    p = torch.tensor([[1.0, 2.0**-60], [2.0**-60, 1.0]], device=device)
    found = scene_divergence(p, kind="reversed", backend=backend)[0, 1].item()
    assert found == pytest.approx(scene_divergence(p.double(), kind="reversed")[0, 1].item(), rel=1e-6)


def test_nothing_shared_is_ln_2_and_infinite_reversed(device):
    p = torch.tensor([[0.5, 0.5, 0.0, 0.0, 0.0], [0.0, 0.0, 0.25, 0.75, 0.0]], device=device)
    assert scene_divergence(p, backend="triton")[0, 1].item() == pytest.approx(math.log(2), rel=1e-7)
    apart = scene_divergence(p, kind="reversed", backend="triton")
    assert apart.tolist() == [[0, math.inf], [math.inf, 0]]
    too_much = scene_divergence(p * 1.005, backend="triton")[
        0, 1
    ]  # adds up to 1 within the 1 % that is let pass
    assert too_much.item() == torch.tensor(math.log(2)).item()


@pytest.mark.parametrize("kind", KINDS)
def test_nearly_equal_rows_keep_their_order(kind, device):
    values = 1 << 10
    ramp = torch.linspace(-1, 1, values, dtype=torch.float64)
    p = torch.stack([(1 + step * ramp) / values for step in (0.0, 1e-3, 1.1e-3, 2e-3, 4e-3)]).to(device)
    exact = scene_divergence(p, kind=kind)[0]
    found = scene_divergence(p.float(), kind=kind, backend="triton")[0]
    torch.testing.assert_close(found.double(), exact, rtol=1e-3, atol=0)
    assert found.argsort().tolist() == list(range(5))


def test_several_parts_are_added_up_the_same_way_each_time(device):
    p = distributions(3, 9000, torch.float32, device)
    found = scene_divergence(p, backend="triton")
    assert torch.equal(found, scene_divergence(p, p, backend="triton"))
    assert bool((found.diag() == 0).all())


def test_kinds_of_numbers_may_differ(device):
    p, q = distributions(2, 20, torch.float16, device), distributions(3, 20, torch.float32, device)
    found = scene_divergence(p, q, backend="triton")
    torch.testing.assert_close(found, scene_divergence(p, q, backend="torch"), rtol=1e-5, atol=1e-7)


def test_no_rows(device):
    none, some = torch.zeros(0, 3, device=device), torch.full((2, 3), 1 / 3, device=device)
    assert scene_divergence(none, some, backend="triton").shape == (0, 2)
    assert scene_divergence(some, none, backend="triton").shape == (2, 0)
    assert scene_divergence(torch.zeros(0, 0, device=device), backend="triton").shape == (0, 0)


def test_strided_rows_are_taken(device):
    p = distributions(18, 4, torch.float32, device).T.contiguous().T[::3]
    q = distributions(5, 4, torch.float32, device).flip(0)
    found = scene_divergence(p, q, backend="triton")
    torch.testing.assert_close(found, scene_divergence(p, q, backend="torch"), rtol=1e-5, atol=1e-7)


def test_no_gradient(device):
    p = distributions(2, 5, torch.float32, device).requires_grad_()
    assert not scene_divergence(p, backend="triton").requires_grad


def test_float64_is_left_to_the_reference(device):
    p, half = distributions(2, 5, torch.float64, device), distributions(2, 5, torch.float16, device)
    for left, right in ((p, None), (half, p)):
        with pytest.raises(BackendError, match=r"sums in float32, which is too coarse for torch\.float64"):
            scene_divergence(left, right, backend="triton")
    with recording() as ran:
        assert scene_divergence(p).dtype == torch.float64
    reason = "" if device == "cpu" else " (it sums in float32, which is too coarse for torch.float64)"
    assert dict(ran) == {("scene_divergence", f"torch{reason}"): 1}


@pytest.mark.parametrize("kind", KINDS)
def test_registered_op_is_sound(kind, device):
    p, q = distributions(2, 9, torch.float16, device), distributions(3, 9, torch.float32, device)
    torch.library.opcheck(diverge, (p, q, kind))


def test_compile_keeps_one_graph(device):
    logits = torch.randn(3, 7, device=device)

    def apart(x):
        return scene_divergence(x.softmax(1), kind="reversed", backend="triton") * 2

    compiled = torch.compile(apart, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(logits), apart(logits))


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_full_size(dtype, kind):
    p = distributions(33, 151_936, dtype, "cuda")
    # what half precision has rounded to 0 would make all pairs infinite
    p = p.clamp(min=torch.finfo(dtype).smallest_normal / 1024)
    found = scene_divergence(p, kind=kind, backend="triton")
    reference = scene_divergence(p, kind=kind, backend="torch")
    assert_as_good(found, reference, scene_divergence(p.double(), kind=kind))
    assert torch.equal(found, found.T)
    assert torch.equal(found, scene_divergence(p, kind=kind, backend="triton"))
