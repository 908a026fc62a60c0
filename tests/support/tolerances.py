"""How near a kernel must be to its reference; the one place that says so."""

from __future__ import annotations

import torch
from torch import Tensor

ROUNDINGS = 4


def assert_as_good(found: Tensor, reference: Tensor, exact: Tensor, *, factor: float = 2.0) -> None:
    """Fail where a kernel is farther from the exact result than twice what its reference is, at worst and on average.

    Args:
        found: the kernel's result.
        reference: the reference's, in the same dtype.
        exact: the reference's in float64.
        factor: how much farther it may be. Where the reference is exact, a few roundings of the largest value are free.
    """
    assert found.dtype == reference.dtype
    assert found.shape == reference.shape == exact.shape
    if not found.numel():
        return
    finite = torch.isfinite(exact)
    assert torch.equal(torch.isfinite(found), finite)
    error, allowed = ((x.double() - exact)[finite].abs() for x in (found, reference))
    slack = ROUNDINGS * torch.finfo(found.dtype).eps * float(exact[finite].abs().max())
    assert float(error.max()) <= factor * float(allowed.max()) + slack
    assert float(error.mean()) <= factor * float(allowed.mean()) + slack
