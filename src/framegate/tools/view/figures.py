"""The figures of a plan: what is encoded, per stage and per second of video, and the memory it takes."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from framegate.types import Float64Array

if TYPE_CHECKING:
    from framegate.tokenizers.gate.plan import GatePlan

BYTES_PER_VALUE = 4


@dataclass(frozen=True, kw_only=True)
class PlanFigures:
    """What a plan costs, beside what the same tubes would cost dense.

    Args:
        num_tubes: temporal steps of the tower.
        grid: rows and columns of cells in a tube.
        num_keyframes: tubes encoded whole.
        video_seconds: from the first tube to the end of the last, None for a single tube.
        dense_tokens: cells of all tubes; one cell is one language-model token.
        kept_tokens: cells that are encoded.
        dense_patch_bytes: float32 pixels of the dense patches.
        kept_patch_bytes: float32 pixels of the kept ones.
    """

    num_tubes: int
    grid: tuple[int, int]
    num_keyframes: int
    video_seconds: float | None
    dense_tokens: int
    kept_tokens: int
    dense_patch_bytes: int
    kept_patch_bytes: int

    @property
    def keep_ratio(self) -> float:
        """Share of the dense tokens that is kept."""
        return self.kept_tokens / self.dense_tokens

    def per_second(self, count: int) -> float | None:
        """Spread a count over the video's seconds, None when the duration is unknown."""
        return count / self.video_seconds if self.video_seconds else None

    def to_dict(self) -> dict[str, Any]:
        """Spell the figures as plain values, with the derived ones."""
        return asdict(self) | {
            "keep_ratio": self.keep_ratio,
            "dense_tokens_per_second": self.per_second(self.dense_tokens),
            "kept_tokens_per_second": self.per_second(self.kept_tokens),
        }


def plan_figures(plan: GatePlan) -> PlanFigures:
    """Count what a plan costs on a tower whose token is a unit of 2 x 2 patches, as in Qwen-VL.

    Args:
        plan: the plan.

    Returns:
        The figures.

    Source: ours.
    """
    num_tubes, rows, columns = plan.keep.shape
    dense, kept = plan.num_cells, plan.num_kept
    cell_bytes = 3 * plan.tube_frames * plan.cell_px**2 * BYTES_PER_VALUE
    starts = np.asarray(plan.timestamps_seconds)
    return PlanFigures(
        num_tubes=num_tubes,
        grid=(rows, columns),
        num_keyframes=int(plan.keyframes.sum()),
        video_seconds=float(tube_ends_seconds(starts)[-1] - starts[0]) if num_tubes > 1 else None,
        dense_tokens=dense,
        kept_tokens=kept,
        dense_patch_bytes=cell_bytes * dense,
        kept_patch_bytes=cell_bytes * kept,
    )


def tube_ends_seconds(starts_seconds: Float64Array) -> Float64Array:
    """Say until when each tube is shown: the next one's start; the last lasts as long as the median one.

    Args:
        starts_seconds: float64 [T], increasing.

    Returns:
        float64 [T]; a single tube is shown for one second.

    Source: ours.
    """
    starts = np.asarray(starts_seconds, dtype=np.float64)
    last = float(np.median(np.diff(starts))) if len(starts) > 1 else 1.0
    return np.append(starts[1:], starts[-1] + last)
