"""A plan's pictures tube by tube, so that no more than one tube has to be painted at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from framegate.tools.view.figures import tube_ends_seconds
from framegate.types import Float64Array, UInt8Array

if TYPE_CHECKING:
    from framegate.tokenizers.gate.plan import GatePlan


@dataclass(frozen=True, kw_only=True)
class TubeView:
    """One tube, ready to be painted.

    Args:
        index: its number.
        count: how many tubes the plan has.
        start_seconds: container time of its first frame.
        end_seconds: until when it is shown.
        source: uint8 [f, h, w, 3], the frames the gate judged.
        rebuilt: uint8 [f, h, w, 3], what the kept cells alone can show; None when it was not asked for.
        scale: side of the token that stands at each cell, 0 for none, int8 [H, W].
        is_keyframe: the tube is encoded whole.
        motion_px: x and y of the median displacement of the skipped cells.
    """

    index: int
    count: int
    start_seconds: float
    end_seconds: float
    source: UInt8Array = field(repr=False)
    rebuilt: UInt8Array | None = field(repr=False)
    scale: npt.NDArray[np.int8] = field(repr=False)
    is_keyframe: bool
    motion_px: tuple[float, float]

    @property
    def keep(self) -> npt.NDArray[np.bool_]:
        """Cells at which a token stands, bool [H, W]."""
        return self.scale > 0

    @property
    def frame_times_seconds(self) -> Float64Array:
        """Start of each frame, spread evenly over the tube, float64 [f]."""
        return np.linspace(self.start_seconds, self.end_seconds, len(self.source), endpoint=False)


def iter_tubes(plan: GatePlan, *, with_rebuilt: bool = True) -> Iterator[TubeView]:
    """Walk through a plan.

    Args:
        plan: the plan, with its frames.
        with_rebuilt: also rebuild each tube from the kept cells.

    Yields:
        The tubes in order of time; paint each before the next, whose pictures may take its place in memory.

    Source: ours.
    """
    motion = skipped_motion_px(plan)
    ends = tube_ends_seconds(plan.timestamps_seconds)
    rebuilt_tubes = plan.iter_reconstruction() if with_rebuilt else repeat(None)
    for index, (source, rebuilt) in enumerate(zip(plan.iter_source(), rebuilt_tubes, strict=False)):
        yield TubeView(
            index=index,
            count=len(plan.keep),
            start_seconds=float(plan.timestamps_seconds[index]),
            end_seconds=float(ends[index]),
            source=source,
            rebuilt=rebuilt,
            scale=plan.side[index],
            is_keyframe=bool(plan.keyframes[index]),
            motion_px=(float(motion[index, 0]), float(motion[index, 1])),
        )


def skipped_motion_px(plan: GatePlan) -> Float64Array:
    """Measure how far the skipped cells of each tube lie from their anchors.

    Args:
        plan: the plan.

    Returns:
        float64 [T, 2], x and y of the median over the tube's skipped cells, 0 where none is skipped.

    Source: ours.
    """
    motion = np.zeros((len(plan.keep), 2))
    for index, (covered, moved) in enumerate(zip(plan.covered, plan.motion_px, strict=True)):
        if not covered.all():
            motion[index] = np.median(moved[~covered], axis=0)
    return motion
