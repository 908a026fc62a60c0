"""Which path an op takes: its Triton kernel where that can run, else the torch reference."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib import import_module
from typing import cast

import torch
from torch import Tensor

from framegate.errors import BackendError
from framegate.kernels.backend import Backend, check_backend

__all__ = [
    "Backend",
    "Ran",
    "interpreting",
    "kernels_run",
    "recording",
    "require",
    "uses_triton",
    "why_no_kernels",
    "why_no_triton",
]

BACKEND_VARIABLE = "FRAMEGATE_BACKEND"

Ran = Counter[tuple[str, str]]

_logger = logging.getLogger(__name__)
_ran: ContextVar[Ran | None] = ContextVar("framegate_kernels_ran", default=None)


@torch.compiler.assume_constant_result
def uses_triton(
    op: str,
    backend: Backend,
    device: torch.device,
    obstacle: str | None = None,
    *,
    doubt: str | None = None,
) -> bool:
    """Choose the path of one call, and enter it where paths are recorded.

    Args:
        op: name of the op.
        backend: "torch" the reference; "triton" the kernel, or an error; "auto" the kernel on a GPU that can run it,
            else the reference, the reason logged once. The variable FRAMEGATE_BACKEND replaces "auto" alone.
        device: where the tensors are.
        obstacle: why the kernel cannot take these tensors; None where it can.
        doubt: why "auto" should not take the kernel, which can be named all the same; None where it should.

    Returns:
        True for the kernel.

    Raises:
        BackendError: an unknown backend, or "triton" where the kernel cannot run.
    """
    backend = _settled(backend)
    if backend == "torch":
        return _entered(op, "torch")
    reason = obstacle or why_no_kernels(device, by_name=backend == "triton")
    if reason is None and backend == "auto":
        reason = doubt
    if reason is None:
        return _entered(op, "triton")
    if backend == "triton":
        raise BackendError(f"{op} cannot run as a Triton kernel: {reason}. Use backend='auto' or 'torch'.")
    _log_once(op, reason)
    # on a CPU the reference is what is meant to run
    return _entered(op, "torch" if device.type == "cpu" else f"torch ({reason})")


@contextmanager
def recording() -> Iterator[Ran]:
    """Count which path each op takes inside the block: {(op, "triton", "torch" or "torch (reason)"): calls}."""
    ran: Ran = Counter()
    token = _ran.set(ran)
    try:
        yield ran
    finally:
        _ran.reset(token)


def interpreting() -> bool:
    """True when Triton runs kernels in its interpreter, on the CPU."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on", "yes", "y")


def require(condition: Tensor, complaint: Callable[[], str], rule: str) -> None:
    """Refuse values without making the host wait for a device.

    Args:
        condition: bool scalar, True when all is well.
        complaint: words the error with the values at hand, where the host can read them.
        rule: what must hold, for a device's own assertion, which fails later and without values.

    Raises:
        ValueError: the condition does not hold. On a CUDA GPU the device's assertion fails instead, as for torch's own
            indexing; builds of torch for ROCm leave such assertions out.
    """
    if condition.device.type != "cuda" and not torch.compiler.is_compiling():
        if not bool(condition):
            raise ValueError(complaint())
    else:
        torch._assert_async(condition, rule)


def kernels_run(backend: Backend, device: torch.device) -> bool:
    """Tell whether ops would take their kernels on a device, obstacles of single calls apart."""
    backend = _settled(backend)
    return backend == "triton" or (backend == "auto" and why_no_kernels(device) is None)


def why_no_kernels(device: torch.device, *, by_name: bool = False) -> str | None:
    """Say why kernels do not run on a device, None where they do; the interpreter counts only where it is named."""
    missing = why_no_triton()
    if missing is not None:
        return missing
    if device.type == "cuda":
        return None if by_name else _too_old(device)
    if by_name and device.type == "cpu" and interpreting():
        return None
    return f"tensors are on {device.type}, kernels run on CUDA and ROCm GPUs"


def _too_old(device: torch.device) -> str | None:
    """Say why "auto" leaves a card alone: the kernels' tiles spill registers on those before compute 8.0."""
    if torch.version.hip is not None or not torch.cuda.is_available():
        return None
    found = torch.cuda.get_device_capability(device)
    return (
        None
        if found >= (8, 0)
        else f"the GPU is of compute {found[0]}.{found[1]}, kernels are for 8.0 and newer"
    )


def _settled(backend: Backend) -> Backend:
    """Check a backend, and let the variable replace "auto"."""
    check_backend(backend)
    if backend != "auto":
        return backend
    set_: str = os.environ.get(BACKEND_VARIABLE, "auto")
    check_backend(set_, f"the variable {BACKEND_VARIABLE}")
    return cast(Backend, set_)


@cache
def why_no_triton() -> str | None:
    """Say why Triton cannot be imported, None where it can."""
    try:
        import_module("triton")
    except Exception as error:  # a broken package may raise anything while it is imported
        return f"triton cannot be imported ({type(error).__name__}: {error})"
    return None


def _entered(op: str, path: str) -> bool:
    ran = _ran.get()
    if ran is not None:
        ran[op, path] += 1
    return path == "triton"


@cache
def _log_once(op: str, reason: str) -> None:
    _logger.info("%s runs as its torch reference: %s", op, reason)
