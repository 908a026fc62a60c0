"""Kernels are tried where they can run: on a GPU where there is one, else in Triton's interpreter."""

import pytest
import torch


@pytest.fixture
def device():
    return "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(autouse=True)
def _poisoned(monkeypatch):
    """Whatever a kernel leaves unwritten shows: memory that is not filled yet holds NaN, or absurd numbers."""
    empty = torch.empty
    # torch keeps what follows `with torch.device(...)` from its first use in a process on: the real one, not this
    with torch.device("cpu"):
        torch.zeros(())

    def poisoned(*args, **kwargs):
        out = empty(*args, **kwargs)
        if out.dtype.is_floating_point:
            return out.fill_(torch.nan)
        return out.fill_(True if out.dtype == torch.bool else torch.iinfo(out.dtype).max - 7)

    monkeypatch.setattr(torch, "empty", poisoned)
