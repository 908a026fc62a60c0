"""compact: by hand, the kernel against the reference, and what is refused."""

import pytest
import torch

from framegate.errors import BackendError
from framegate.kernels.compact import compact, compacted
from framegate.kernels.dispatch import recording


def test_by_hand():
    rows = torch.arange(8).reshape(4, 2)
    keep = torch.tensor([True, False, False, True])
    assert compact(rows, keep, 2).tolist() == [[0, 1], [6, 7]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.uint8])
@pytest.mark.parametrize(("rows", "width"), [(1, 1), (9, 3), (40, 129), (12, 2100)])
def test_kernel_is_the_reference(rows, width, dtype, device):
    values = (torch.randn(rows, width) * 50).abs().to(dtype).to(device)
    for share in (0.0, 0.3, 1.0):
        keep = torch.rand(rows, device=device) < share
        with recording() as ran:
            found = compact(values, keep, int(keep.sum()), backend="triton")
        assert dict(ran) == {("compact", "triton"): 1}
        assert torch.equal(found, values[keep])
        assert torch.equal(compact(values, keep, int(keep.sum()), backend="torch"), values[keep])


def test_views_are_taken(device):
    values = torch.randn(6, 10, device=device).T
    keep = torch.stack([torch.arange(10, device=device) % 3 == 0] * 2, 1)[:, 0]
    assert not keep.is_contiguous()
    assert torch.equal(compact(values, keep, 4, backend="triton"), values[keep])


def test_the_reference_has_a_gradient():
    rows = torch.randn(3, 2, requires_grad=True)
    compact(rows, torch.tensor([True, False, True]), 2).sum().backward()
    assert rows.grad.tolist() == [[1, 1], [0, 0], [1, 1]]
    with pytest.raises(BackendError, match="rows ask for a gradient"):
        compact(rows, torch.tensor([True, False, True]), 2, backend="triton")


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="keep holds 1 rows; num_kept is 2"):
        compact(torch.zeros(2, 2), torch.tensor([True, False]), 2)
    with pytest.raises(ValueError, match="must be"):
        compact(torch.zeros(2, 2), torch.tensor([True]), 1)


def test_registered_op_is_sound(device):
    keep = torch.tensor([True, False, True], device=device)
    torch.library.opcheck(compacted, (torch.randn(3, 5, device=device), keep, 2))


def test_compile_keeps_one_graph(device):
    rows, keep = torch.randn(4, 3, device=device), torch.tensor([True, False, True, True], device=device)
    compiled = torch.compile(
        lambda x: compact(x, keep, 3, backend="triton") + 1, backend="aot_eager", fullgraph=True
    )
    assert torch.equal(compiled(rows), rows[keep] + 1)


@pytest.mark.gpu
def test_full_size():
    rows = torch.randn(16384, 4704, device="cuda")
    keep = torch.rand(16384, device="cuda") < 0.25
    assert torch.equal(compact(rows, keep, int(keep.sum()), backend="triton"), rows[keep])
