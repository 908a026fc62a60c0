"""Towers whose weights accelerate brings from the CPU or a disk when a module runs: they are on no device till then."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from framegate.errors import AttachmentError

# what accelerate leaves on a module whose weights it brings
_HOOK = "_hf_hook"


def check_brought(model: Any, tower: torch.nn.Module) -> None:
    """Refuse a tower whose weights are nowhere.

    Args:
        model: the whole model.
        tower: its vision tower.

    Raises:
        AttachmentError: weights of the tower are on the meta device, and accelerate brings none.
    """
    lost = next((name for name, weight in tower.named_parameters() if weight.is_meta), None)
    if lost is not None and not any(hasattr(module, _HOOK) for module in model.modules()):
        raise AttachmentError(
            f"{lost} of {type(tower).__name__} is on the meta device, and no hook of accelerate brings it: load the "
            "weights first (from_pretrained, or to_empty and load_state_dict), then attach."
        )


def device_for(module: Any, rows: Tensor) -> torch.device:
    """Say where what goes into a module has to be: beside its weights; where it is, if those are brought to it."""
    device: torch.device = next(module.parameters()).device
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
