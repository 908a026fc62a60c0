"""What ops that merge rows ask of sizes and segments."""

from __future__ import annotations

from torch import Tensor

from framegate.kernels.dispatch import require


def require_segments(op: str, size: Tensor, segment: Tensor, num_segments: int) -> None:
    """Refuse segments outside [-1, num_segments) and sizes below 1, both int64 [N].

    Raises:
        ValueError: as `dispatch.require`.
    """
    require(
        ((segment >= -1) & (segment < num_segments)).all(),
        lambda: f"segment must lie in [-1, {num_segments}), got {segment.min()} to {segment.max()}.",
        f"{op}: segments lie in [-1, num_segments)",
    )
    require(
        (size >= 1).all(),
        lambda: f"size must be at least 1, got {size.min().item()}.",
        f"{op}: sizes are at least 1",
    )
