"""Who computes a case: the reference, its compiled form, the kernel, and what others offer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from framegate.kernels.dispatch import interpreting, why_no_triton
from framegate.tools.bench.case import Case, Mode, Outputs, Setting

REFERENCE, COMPILED, KERNEL = "torch", "torch.compile", "triton"
Call = Callable[[], Outputs]


@dataclass(frozen=True)
class Ready:
    """The providers of a case that ran, and why others did not.

    Args:
        calls: what computes the mode, by provider; the reference first.
        outputs: what each gave.
        skipped: reasons by provider.
    """

    calls: dict[str, Call] = field(default_factory=dict)
    outputs: dict[str, tuple[Tensor, ...]] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def ready(case: Case, mode: Mode, setting: Setting) -> Ready:
    """Run every provider of a case once.

    Args:
        case: the case.
        mode: forward, or gradients alone of a graph that is kept.
        setting: where to run.

    Returns:
        What ran and what did not; whatever the reference raises is raised.

    Source: ours.
    """
    found = Ready()
    found.skipped.update(
        {name: why for name, why in case.excused.items() if name != COMPILED or setting.compiles}
    )
    for name, forward in _forwards(case, setting, found.skipped).items():
        try:
            with _graphs_that_stay():
                call = forward if mode == "forward" else backward_of(forward, case.leaves)
                outputs = as_tuple(call())
            if setting.device.type == "cuda":
                torch.cuda.synchronize()  # a kernel's failure shows here
        except Exception as error:  # compilers and kernels may raise anything
            if name == REFERENCE:
                raise
            found.skipped[name] = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            continue
        found.calls[name], found.outputs[name] = call, outputs
    return found


def _forwards(case: Case, setting: Setting, skipped: dict[str, str]) -> dict[str, Call]:
    run = case.run
    forwards: dict[str, Call] = {REFERENCE: lambda: run("torch")}
    if setting.compiles:
        # what was compiled for another size would make this one run with open sizes
        torch.compiler.reset()
        forwards[COMPILED] = torch.compile(lambda: run("torch"), dynamic=False)
    if why := _why_no_kernel(setting):
        skipped.setdefault(KERNEL, why)
    forwards |= {KERNEL: lambda: run("triton")} | dict(case.rivals)
    return {name: call for name, call in forwards.items() if name not in skipped}


def _why_no_kernel(setting: Setting) -> str | None:
    if setting.device.type != "cuda":
        return f"kernels run on GPUs, not on {setting.device.type}"
    return (
        "TRITON_INTERPRET is set: an interpreter's time says nothing" if interpreting() else why_no_triton()
    )


def backward_of(forward: Call, leaves: tuple[Tensor, ...]) -> Call:
    """Run a provider forward and return what computes the leaves' gradients, as often as wanted.

    Args:
        forward: the provider.
        leaves: inputs that require gradients.

    Returns:
        Call that gives one gradient per leaf, for gradients of the outputs that are the same for every provider.

    Source: ours.
    """
    with torch.enable_grad():
        outputs = [tensor for tensor in as_tuple(forward()) if tensor.requires_grad]
    grads = [_drawn_like(tensor, seed) for seed, tensor in enumerate(outputs)]
    return lambda: torch.autograd.grad(outputs, leaves, grads, retain_graph=True)


def _drawn_like(tensor: Tensor, seed: int) -> Tensor:
    drawn = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(1000 + seed))
    return drawn.to(tensor.device, tensor.dtype)


def as_tuple(outputs: Outputs) -> tuple[Tensor, ...]:
    """One output or several, as several."""
    return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


@contextmanager
def _graphs_that_stay() -> Iterator[None]:
    """Inside, torch.compile makes backward graphs that may run more than once."""
    import torch._functorch.config as functorch

    settings: Any = functorch
    with settings.patch(donated_buffer=False):
        yield
