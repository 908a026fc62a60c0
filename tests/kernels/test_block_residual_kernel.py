"""block_residual as a Triton kernel, against its reference."""

import pytest
import torch

from framegate.errors import BackendError
from framegate.kernels.block_residual import block_residual, residual
from framegate.kernels.dispatch import recording

METRICS = ["mad", "l2", "ssim"]


def pair(shape, device):
    a = torch.randint(0, 256, shape, dtype=torch.uint8)
    near = (a.int() + torch.randint(-9, 10, shape)).clamp(0, 255)
    b = torch.where(torch.rand(shape) < 0.9, near, 255 - a.int()).to(torch.uint8)
    return a.to(device), b.to(device)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("shape", "cell_px"),
    [
        ((1, 4, 4), 4),
        ((2, 28, 84), 28),
        ((3, 2, 56, 308), 28),
        ((2, 1, 1, 15, 25), 5),
        ((1, 3, 7), 1),
        ((1, 150, 150), 150),
    ],
)
def test_kernel_is_the_reference(shape, cell_px, metric, device):
    a, b = pair(shape, device)
    with recording() as ran:
        found = block_residual(a, b, cell_px, metric, backend="triton")
    assert dict(ran) == {("block_residual", "triton"): 1}
    wanted = block_residual(a, b, cell_px, metric, backend="torch")
    exact = metric == "mad"
    torch.testing.assert_close(found, wanted, rtol=0 if exact else 1e-6, atol=0 if exact else 1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_extremes_are_exact(metric, device):
    black, white = (torch.full((2, 32, 64), value, dtype=torch.uint8, device=device) for value in (0, 255))
    found = block_residual(black, white, 32, metric, backend="triton")
    torch.testing.assert_close(
        found, block_residual(black, white, 32, metric, backend="torch"), rtol=1e-6, atol=1e-6
    )
    assert bool((block_residual(white, white, 32, metric, backend="triton") == 0).all())


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_a_negative_is_almost_two_away(backend, device):
    """Structure turned round: similarity near -1, in which no clamp at 1 may step."""
    a = torch.randint(0, 256, (1, 16, 16), dtype=torch.uint8).to(device)
    found = block_residual(a, 255 - a, 16, "ssim", backend=backend)
    assert 1.5 < float(found) <= 2
    assert float(found) == pytest.approx(float(block_residual(a, 255 - a, 16, "ssim", backend="torch")))


def test_views_are_taken(device):
    a, b = pair((2, 2, 8, 24), device)
    found = block_residual(a[:, :1, :, ::2], b[:, 1:, :, 1::2], 4, backend="triton")
    assert torch.equal(found, block_residual(a[:, :1, :, ::2], b[:, 1:, :, 1::2], 4, backend="torch"))


def test_no_frames(device):
    none = torch.zeros(0, 1, 8, 8, dtype=torch.uint8, device=device)
    assert block_residual(none, none, 4, backend="triton").shape == (0, 2, 2)


def test_what_the_kernel_cannot_take_is_named(device):
    a = torch.zeros(1, 8, 8, device=device)
    with pytest.raises(BackendError, match="frames are torch.float32, the kernel takes torch.uint8"):
        block_residual(a, a, 4, backend="triton")
    big = torch.zeros(1, 200, 200, dtype=torch.uint8, device=device)
    with pytest.raises(BackendError, match="a block has 40000 values"):
        block_residual(big, big, 200, "ssim", backend="triton")


def test_registered_op_is_sound(device):
    torch.library.opcheck(residual, (*pair((2, 1, 8, 12), device), 4, "mad"))


def test_compile_keeps_one_graph(device):
    a, b = pair((2, 1, 8, 12), device)
    compiled = torch.compile(
        lambda x, y: block_residual(x, y, 4, backend="triton") * 2, backend="aot_eager", fullgraph=True
    )
    assert torch.equal(compiled(a, b), 2 * block_residual(a, b, 4, backend="torch"))


@pytest.mark.gpu
@pytest.mark.parametrize("metric", METRICS)
def test_full_size(metric):
    a, b = pair((64, 2, 1120, 1988), "cuda")
    found = block_residual(a, b, 28, metric, backend="triton")
    torch.testing.assert_close(found, block_residual(a, b, 28, metric, backend="torch"), rtol=1e-6, atol=1e-6)
