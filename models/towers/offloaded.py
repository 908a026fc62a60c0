"""Towers whose weights accelerate brings from the CPU or a disk when a module runs: they are on no device till then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


def device_for(module: Any, rows: Tensor) -> torch.device:
    """Say where what goes into a module has to be: beside its weights; where it is, if those are brought to it."""
    device: torch.device = module.device
    return rows.device if device.type == "meta" else device


@contextmanager
def loaded(module: torch.nn.Module) -> Iterator[None]:
    """Bring a module's own weights, for code that reads them without running the module."""
    if not any(weight.is_meta for weight in module.parameters(recurse=False)):
        yield
        return
    from accelerate.utils import align_module_device

    with align_module_device(module):
        yield
