"""What is timed: one size of one op, with everything that may compute it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args

import torch
from torch import Tensor

from framegate.errors import ConfigError, nearest
from framegate.kernels.backend import Backend

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
