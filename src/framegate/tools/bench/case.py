"""One size of one op, everything that may compute it, and whether they agree: what disagrees is not timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args

import torch
from torch import Tensor

from framegate.errors import ConfigError, DisagreementError, nearest
from framegate.kernels.backend import Backend
from framegate.kernels.dispatch import interpreting, why_no_triton

Mode = Literal["forward", "backward"]
MODES: tuple[Mode, ...] = get_args(Mode)
DEVICES = ("auto", "cpu", "cuda")
Outputs = Tensor | tuple[Tensor, ...]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a mode of an op cannot do without.

    Args:
        num_bytes: read from memory or written to it, each value once.
        flops: of matrix products, a multiplication and an addition being two; 0 where memory alone is the floor.
    """

    num_bytes: int
    flops: int = 0


@dataclass(frozen=True, kw_only=True)
class Case:
    """One size of one op.

    Args:
        op: name of the op.
        x_name: what the size is counted in.
        x: how many of it.
        shape: the whole size, for the record.
        dtype: of the tensors that make up most of the bytes.
        run: calls the public op by a backend.
        work: what each mode that is to be timed cannot do without.
        leaves: inputs for which the mode "backward" takes gradients.
        rivals: what else computes it, by name of the provider.
        excused: providers that get no row here, and why.
    """

    op: str
    x_name: str
    x: float
    shape: Mapping[str, Any]
    dtype: torch.dtype
    run: Callable[[Backend], Outputs]
    work: Mapping[Mode, Work]
    leaves: tuple[Tensor, ...] = ()
    rivals: Mapping[str, Callable[[], Outputs]] = field(default_factory=dict)
    excused: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Where and how to time.

    Args:
        device: the CPU or a GPU.
        quick: small sizes and few rounds, to see that it works.
        compiles: torch.compile of the reference is a provider too.
    """

    device: torch.device
    quick: bool = False
    compiles: bool = False

    @property
    def dtype(self) -> torch.dtype:
        """Of features: bfloat16 on a GPU, as models have them there; float32 on a CPU."""
        return torch.bfloat16 if self.device.type == "cuda" else torch.float32

    @property
    def size(self) -> str:
        """Which sizes to take: "quick", "cuda" or "cpu"."""
        return "quick" if self.quick else self.device.type

    def choose(self, sizes: Mapping[str, Sequence[T]]) -> Sequence[T]:
        """Take the sizes that suit the setting."""
        return sizes[self.size]

    def generator(self, seed: int = 0) -> torch.Generator:
        """Numbers that are the same in every run, whatever the device: drawn on the CPU."""
        return torch.Generator().manual_seed(seed)

    def features(self, *shape: int, seed: int = 0) -> Tensor:
        """Draw normal numbers in the setting's dtype, on its device."""
        return torch.randn(shape, generator=self.generator(seed)).to(self.device, self.dtype)


def setting_of(device: str = "auto", *, quick: bool = False, compiles: bool | None = None) -> Setting:
    """Settle where to time.

    Args:
        device: "cpu", "cuda", or "auto" for a GPU where there is one.
        quick: small sizes and few rounds.
        compiles: time torch.compile too; None does on a GPU alone, since it takes minutes on a CPU.

    Returns:
        The setting.

    Raises:
        ConfigError: an unknown device, or "cuda" where there is none.
    """
    if device not in DEVICES:
        raise ConfigError(f"device is {device!r}. {nearest(device, DEVICES)}")
    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise ConfigError("device is 'cuda', and torch finds no GPU here; use 'cpu' or 'auto'.")
    chosen = "cuda" if there and device != "cpu" else "cpu"
    return Setting(
        device=torch.device(chosen), quick=quick, compiles=chosen == "cuda" if compiles is None else compiles
    )


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
    """Run every provider of a case once, and tell which ran; whatever the reference raises is raised."""
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
    """Run a provider forward and return the call that gives the leaves' gradients, as often as wanted."""
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


# of the largest value of the reference; the tests are stricter, this finds what is wrong altogether
TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 4e-2}


def require_agreement(case: Case, mode: Mode, found: Ready) -> None:
    """Compare what every provider gave with what the reference gave.

    Raises:
        DisagreementError: shapes or dtypes differ, whole numbers differ at all, or others by more than the tolerance
            of their dtype.
    """
    reference = found.outputs[REFERENCE]
    for name, outputs in found.outputs.items():
        complaint = _complaint(outputs, reference)
        if complaint:
            raise DisagreementError(
                f"{case.op} by {name!r} is not what the reference gives ({mode}, {case.x_name} {case.x:g}): "
                f"{complaint}. Nothing of {case.op} was timed or written."
            )


def _complaint(outputs: tuple[Tensor, ...], reference: tuple[Tensor, ...]) -> str | None:
    if len(outputs) != len(reference):
        return f"{len(outputs)} outputs for {len(reference)}"
    for number, (tensor, wanted) in enumerate(zip(outputs, reference, strict=True)):
        complaint = _apart(tensor, wanted)
        if complaint:
            return f"output {number}: {complaint}"
    return None


def _apart(tensor: Tensor, wanted: Tensor) -> str | None:
    if tensor.shape != wanted.shape or tensor.dtype != wanted.dtype:
        return f"{tensor.dtype} {tuple(tensor.shape)} for {wanted.dtype} {tuple(wanted.shape)}"
    if torch.equal(tensor, wanted):
        return None
    if not wanted.is_floating_point():
        wrong = int((tensor != wanted).sum())
        worst = int((tensor.long() - wanted.long()).abs().max())
        return f"{wrong} of {wanted.numel()} values differ, by {worst} at worst; they must be equal"
    finite = torch.isfinite(wanted)
    if not torch.equal(torch.where(finite, 0, wanted), torch.where(torch.isfinite(tensor), 0, tensor)):
        return "values that are not finite stand elsewhere"
    error = float((tensor.double() - wanted.double())[finite].abs().max())
    allowed = TOLERANCE[wanted.dtype] * float(wanted[finite].double().abs().max())
    if error > allowed:
        return f"the worst error is {error:.3g}, {allowed:.3g} is allowed"
    return None
