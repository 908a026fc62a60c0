"""What is shown of a plan: its figures (tokens, patches, memory), and its tubes with their frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from itertools import repeat
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from framegate.types import Float64Array, UInt8Array

if TYPE_CHECKING:
    from framegate.config import FrontEndConfig
    from framegate.tokenizers.gate.plan import GatePlan

BYTES_PER_VALUE = 4


@dataclass(frozen=True, kw_only=True)
class PlanFigures:
    """What a plan costs, beside what the same tubes would cost dense.

    Args:
        num_tubes: temporal steps of the tower.
        grid: rows and columns of cells in a tube.
        num_keyframes: tubes encoded whole.
        num_frames: frames that went in; a last tube that is not full repeats its last one, which does not count.
        video_seconds: from the first frame to the end of the last, None for a single tube whose end nobody told.
        dense_tokens: cells of all tubes; one cell is one language-model token.
        kept_tokens: cells that are encoded.
        prompt_tokens: video tokens that the language model reads: those of encoded cells and of cells shown again, as
            far as its budget goes.
        dense_patch_bytes: float32 pixels of the dense patches.
        kept_patch_bytes: float32 pixels of the kept ones.
    """

    num_tubes: int
    grid: tuple[int, int]
    num_keyframes: int
    num_frames: int
    video_seconds: float | None
    dense_tokens: int
    kept_tokens: int
    prompt_tokens: int
    dense_patch_bytes: int
    kept_patch_bytes: int

    @property
    def tower_ratio(self) -> float:
        """Share of the dense cells that the tower encodes."""
        return self.kept_tokens / self.dense_tokens

    @property
    def keep_ratio(self) -> float:
        """Share of the dense tokens that the language model reads."""
        return self.prompt_tokens / self.dense_tokens

    def per_second(self, count: int) -> float | None:
        """Spread a count over the video's seconds, None when the duration is unknown."""
        return count / self.video_seconds if self.video_seconds else None

    def to_dict(self) -> dict[str, Any]:
        """Spell the figures as plain values, with the derived ones."""
        return asdict(self) | {
            "tower_ratio": self.tower_ratio,
            "keep_ratio": self.keep_ratio,
            "dense_tokens_per_second": self.per_second(self.dense_tokens),
            "prompt_tokens_per_second": self.per_second(self.prompt_tokens),
        }


def plan_figures(plan: GatePlan, config: FrontEndConfig | None = None) -> PlanFigures:
    """Count what a plan costs.

    Args:
        plan: the plan.
        config: what it was made with, which says whether skipped cells are shown again and what the prompt may hold;
            None for encoded cells alone.

    Returns:
        The figures; stages that merge by a threshold may leave fewer tokens of the prompt.
    """
    num_tubes, rows, columns = plan.keep.shape
    dense, kept = plan.num_cells, plan.num_kept
    cell_bytes = 3 * plan.tube_frames * plan.cell_px**2 * BYTES_PER_VALUE
    starts = np.asarray(plan.timestamps_seconds if plan.frames is None else plan.frames.timestamps_seconds)
    is_timed = num_tubes > 1 or plan.end_seconds is not None
    return PlanFigures(
        num_tubes=num_tubes,
        grid=(rows, columns),
        num_keyframes=int(plan.keyframes.sum()),
        num_frames=num_tubes * plan.tube_frames if plan.frames is None else len(plan.frames.indices),
        video_seconds=float(ends_seconds(starts, plan.end_seconds)[-1] - starts[0]) if is_timed else None,
        dense_tokens=dense,
        kept_tokens=kept,
        prompt_tokens=kept if config is None else _prompt_tokens(plan, config),
        dense_patch_bytes=cell_bytes * dense,
        kept_patch_bytes=cell_bytes * kept,
    )


def _prompt_tokens(plan: GatePlan, config: FrontEndConfig) -> int:
    """How many video tokens the language model reads: those that something shows, as far as the budget goes."""
    shown = plan.num_kept + int(shown_again(plan, config).sum())
    target = config.prompt_target(dense=plan.num_cells, encoded=plan.num_kept, tubes=len(plan.keep))
    return shown if target is None else min(shown, target)


def shown_again(plan: GatePlan, config: FrontEndConfig | None) -> npt.NDArray[np.bool_]:
    """Tell which skipped cells have a token again by what stands for them, bool [T, H, W]."""
    if config is None or not (config.refills or config.reuses):
        return np.zeros(plan.keep.shape, bool)
    return ~plan.keep & (plan.anchor >= 0)


def tube_ends_seconds(plan: GatePlan) -> Float64Array:
    """Say until when each tube of a plan is shown, float64 [T]."""
    return ends_seconds(np.asarray(plan.timestamps_seconds), plan.end_seconds)


def ends_seconds(starts_seconds: Float64Array, end_seconds: float | None = None) -> Float64Array:
    """Say until when what begins at these times is shown, float64 [N]: the next one's start.

    The last ends with the video; where its end is not known, or before, after the median time.
    """
    starts = np.asarray(starts_seconds, dtype=np.float64)
    if end_seconds is not None and end_seconds > starts[-1]:
        return np.append(starts[1:], end_seconds)
    last = float(np.median(np.diff(starts))) if len(starts) > 1 else 1.0
    return np.append(starts[1:], starts[-1] + last)


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
        keep: cells that are encoded, bool [H, W].
        again: skipped cells that are shown again, bool [H, W].
        is_keyframe: the tube is encoded whole.
        motion_px: x and y of the median displacement of the skipped cells.
    """

    index: int
    count: int
    start_seconds: float
    end_seconds: float
    source: UInt8Array = field(repr=False)
    rebuilt: UInt8Array | None = field(repr=False)
    keep: npt.NDArray[np.bool_] = field(repr=False)
    again: npt.NDArray[np.bool_] = field(repr=False)
    is_keyframe: bool
    motion_px: tuple[float, float]

    @property
    def frame_times_seconds(self) -> Float64Array:
        """Start of each frame, spread evenly over the tube, float64 [f]."""
        return np.linspace(self.start_seconds, self.end_seconds, len(self.source), endpoint=False)


def iter_tubes(
    plan: GatePlan, *, with_rebuilt: bool = True, config: FrontEndConfig | None = None
) -> Iterator[TubeView]:
    """Decode a plan's source again, tube by tube; `config` says whether skipped cells are shown again."""
    motion, again = skipped_motion_px(plan), shown_again(plan, config)
    ends = tube_ends_seconds(plan)
    rebuilt_tubes = plan.iter_reconstruction() if with_rebuilt else repeat(None)
    for index, (source, rebuilt) in enumerate(zip(plan.iter_source(), rebuilt_tubes, strict=False)):
        yield TubeView(
            index=index,
            count=len(plan.keep),
            start_seconds=float(plan.timestamps_seconds[index]),
            end_seconds=float(ends[index]),
            source=source,
            rebuilt=rebuilt,
            keep=plan.keep[index],
            again=again[index],
            is_keyframe=bool(plan.keyframes[index]),
            motion_px=(float(motion[index, 0]), float(motion[index, 1])),
        )


def skipped_motion_px(plan: GatePlan) -> Float64Array:
    """Measure how far skipped cells lie from their anchors: medians over each tube, float64 [T, 2], x and y."""
    motion = np.zeros((len(plan.keep), 2))
    for index, (keep, moved) in enumerate(zip(plan.keep, plan.motion_px, strict=True)):
        if not keep.all():
            motion[index] = np.median(moved[~keep], axis=0)
    return motion
