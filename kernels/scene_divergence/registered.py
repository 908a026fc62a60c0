"""scene_divergence's kernel as a torch op, so that torch.compile keeps its graph."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from framegate.kernels.scene_divergence.reference import Kind


@torch.library.custom_op("framegate::scene_divergence", mutates_args=())
def diverge(p: Tensor, q: Tensor, kind: str) -> Tensor:
    """Measure by the Triton kernel, as `triton_kernel.diverge`."""
    from framegate.kernels.scene_divergence import triton_kernel

    return triton_kernel.diverge(p, q, cast(Kind, kind))


@diverge.register_fake
def _(p: Tensor, q: Tensor, kind: str) -> Tensor:
    return p.new_empty((len(p), len(q)), dtype=torch.float32)
