"""GatePlan: which cells of a video are encoded, and what stands for the others. Pure data, no pixels, no features."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from framegate.errors import PlanError
from framegate.notebook import html_bars, html_notes
from framegate.tokenizers.gate.grid import CellGrid, tubes_of
from framegate.tokenizers.gate.shown import ShownContent, ring_tubes_for
from framegate.tokenizers.gate.trace import traced_anchors
from framegate.types import (
    BoolArray,
    Float32Array,
    Float64Array,
    FramePlan,
    Int32Array,
    UInt8Array,
)

if TYPE_CHECKING:
    from framegate.tokenizers.gate.packing import Account, Packed

OpenFrames = Callable[[], Iterator[UInt8Array]]
_NO_TIME = np.full(1, np.nan)


@dataclass(frozen=True, kw_only=True, eq=False)
class GatePlan:
    """Which cells are encoded, per tube.

    Args:
        keep: cells that are encoded, bool [T, H, W].
        residual: by how much the cell differed from what was shown when it was decided on, float32 [T, H, W];
            0 in the first tube.
        moved: skipped cells that follow the camera, bool [T, H, W].
        camera_motion: float32 [T, k, 2, 3], affine maps from each tube's pixels to those of the tube before; identity
            where not used.
        timestamps_seconds: time of each tube's first frame, float64 [T]; NaN where nobody told.
        grid: geometry: cell_px, tube_frames, height_px, width_px.
        notes: what stood aside or was relaxed, and why.
        dense_cells: cells of the video at full size where frames were made smaller; None where they were not.
        frames: which frames of the video the tubes are made of; None where nobody told.
        end_seconds: when the video, or its window, ends; None where nobody told.
        open_frames: gives the source frames afresh, uint8 [h, w, 3] RGB; None where the plan travelled without them.
        traced: anchor and motion_px of a plan that was unpacked; None where moved and camera_motion tell them.
    """

    keep: BoolArray = field(repr=False)
    residual: Float32Array = field(repr=False)
    moved: BoolArray = field(repr=False)
    camera_motion: Float32Array = field(repr=False)
    timestamps_seconds: Float64Array = field(repr=False)
    grid: CellGrid
    notes: tuple[str, ...] = ()
    dense_cells: int | None = None
    frames: FramePlan | None = field(default=None, repr=False)
    end_seconds: float | None = None
    open_frames: OpenFrames | None = field(default=None, repr=False)
    traced: tuple[Int32Array, Float32Array] | None = field(default=None, repr=False)

    @classmethod
    def still(cls, keep: BoolArray, grid: CellGrid) -> GatePlan:
        """Wrap a choice of cells that no camera moves.

        Args:
            keep: cells that are encoded, bool [T, H, W].
            grid: geometry.

        Returns:
            The plan, residuals not measured (0), times not told (NaN).
        """
        return cls(
            keep=np.array(keep, bool, order="C"),
            residual=np.zeros(keep.shape, np.float32),
            moved=np.zeros(keep.shape, bool),
            camera_motion=_no_motion(grid.tube_frames).repeat(len(keep), axis=0),
            timestamps_seconds=np.full(len(keep), np.nan),
            grid=grid,
        )

    @classmethod
    def of_tube(
        cls,
        keep: BoolArray,
        residual: Float32Array,
        moved: BoolArray,
        motion: Float32Array | None,
        grid: CellGrid,
    ) -> GatePlan:
        """Make the plan of one tube from arrays [H, W] and the motion [k, 2, 3] that its moved cells follow."""
        return cls(
            keep=keep[None],
            residual=residual[None],
            moved=moved[None],
            camera_motion=_no_motion(grid.tube_frames) if motion is None else motion[None],
            timestamps_seconds=_NO_TIME,
            grid=grid,
        )

    @classmethod
    def stacked(cls, plans: Sequence[GatePlan]) -> GatePlan:
        """Put plans of one clip's tubes one behind the other, as they are; notes once each."""
        grids = {plan.grid for plan in plans}
        if len(grids) != 1 or any(plan.traced is not None for plan in plans):
            raise PlanError(
                f"Plans of {len(grids)} grids, or unpacked ones, cannot be joined; join plans of one grid as the gate "
                "gives them, before they are packed."
            )
        dense = [plan.dense_cells for plan in plans]
        return cls(
            keep=np.concatenate([plan.keep for plan in plans]),
            residual=np.concatenate([plan.residual for plan in plans]),
            moved=np.concatenate([plan.moved for plan in plans]),
            camera_motion=np.concatenate([plan.camera_motion for plan in plans]),
            timestamps_seconds=np.concatenate([plan.timestamps_seconds for plan in plans]),
            grid=plans[0].grid,
            notes=tuple(dict.fromkeys(note for plan in plans for note in plan.notes)),
            dense_cells=None if None in dense else sum(cells for cells in dense if cells),
        )

    @classmethod
    def concatenate(cls, plans: Sequence[GatePlan]) -> GatePlan:
        """Join plans of successive tubes of a stream into one run that stands alone.

        Args:
            plans: at least one, in order of time, on one grid.

        Returns:
            The run, its anchors inside the run: cells of the first tube that an earlier tube, or none, would show are
            encoded.

        Raises:
            PlanError: no plan, plans of several grids, or plans that were unpacked.
        """
        if not plans:
            raise PlanError("A run needs at least one plan, got none.")
        run = replace(cls.stacked(plans), open_frames=_one_after_the_other(plans))
        first = ~run.keep[0]
        if not first.any():
            return run
        keep, moved = run.keep.copy(), run.moved.copy()
        keep[0], moved[0] = True, False
        note = (
            f"{int(first.sum())} cells of the run's first tube are encoded: what showed them lies before it"
        )
        return replace(run, keep=keep, moved=moved, notes=(*run.notes, note))

    def __repr__(self) -> str:
        tubes, rows, columns = self.keep.shape
        return f"GatePlan({self.num_kept} of {self.num_cells} cells, {tubes} tubes of {rows} x {columns})"

    def _repr_html_(self) -> str:
        tubes, rows, columns = self.keep.shape
        shares = self.keep.mean((1, 2)).tolist()
        times = ["" if np.isnan(time) else f" at {time:.2f} s" for time in self.timestamps_seconds]
        labels = [
            f"tube {n}{time}: {share:.0%}" for n, (time, share) in enumerate(zip(times, shares, strict=True))
        ]
        told = f"{self.num_kept:,} of {self.num_cells:,} cells are encoded ({self.keep_ratio:.1%})"
        told += f", in {tubes} tubes of {rows} x {columns}; a bar is a tube's share"
        return html_notes(told, ()) + html_bars(shares, labels, told) + html_notes("", self.notes)

    @property
    def anchor(self) -> Int32Array:
        """Tube whose encoded content stands for the cell, int32 [T, H, W]: its own if kept, -1 if never shown."""
        return self._traced[0]

    @property
    def motion_px(self) -> Float32Array:
        """Displacement (x, y) from the cell to where its anchor's content lies, float32 [T, H, W, 2]."""
        return self._traced[1]

    @cached_property
    def _traced(self) -> tuple[Int32Array, Float32Array]:
        if self.traced is not None:
            return self.traced
        return traced_anchors(self.keep, self.moved, self.camera_motion, self.grid)

    @property
    def keyframes(self) -> BoolArray:
        """Tubes that are encoded whole, bool [T]."""
        return np.all(self.keep, axis=(1, 2))

    @property
    def num_kept(self) -> int:
        """Cells that are encoded, a token each."""
        return int(np.count_nonzero(self.keep))

    @property
    def num_cells(self) -> int:
        """All cells, T * H * W, those of frames at full size."""
        return self.keep.size if self.dense_cells is None else self.dense_cells

    @property
    def keep_ratio(self) -> float:
        """Cells that are encoded, as a share of all."""
        return self.num_kept / self.num_cells

    @property
    def cell_px(self) -> int:
        """Side of a cell."""
        return self.grid.cell_px

    @property
    def tube_frames(self) -> int:
        """Frames of a tube."""
        return self.grid.tube_frames

    @property
    def height_px(self) -> int:
        """Height of the frames that were judged."""
        return self.grid.height_px

    @property
    def width_px(self) -> int:
        """Width of the frames that were judged."""
        return self.grid.width_px

    def pack(self, account: Account | None = None) -> Packed:
        """Write the plan as two arrays that travel with a batch; `packing.unpack_plans` reads them.

        Args:
            account: whose configuration decided, and what it cost; None for an empty one.

        Returns:
            `framegate_plan` int32 [cells, 6] and `framegate_notes` uint8 [n], one JSON line; those of several videos
            are joined along the first axis.
        """
        from framegate.tokenizers.gate.packing import packed

        return packed(self, account)

    def iter_source(self) -> Iterator[UInt8Array]:
        """Read the source again, tube by tube: uint8 [k, h, w, 3] RGB; the last tube repeats its last frame."""
        if self.open_frames is None:
            raise PlanError(
                "This plan travelled without its video, so it has no frames to show; take the plan of plan_video."
            )
        return tubes_of(self.open_frames(), self.tube_frames)

    def iter_reconstruction(self) -> Iterator[UInt8Array]:
        """Show what kept cells alone can show, tube by tube: uint8 [k, h, w, 3]; read it before the next step."""
        if self.traced is not None and self.open_frames is not None:
            raise PlanError(
                "This plan goes on from one before, and its tubes are shown in two orders: reconstruct the plans of "
                "its turns one by one."
            )
        ring_tubes = ring_tubes_for(self.grid) if self.moved.any() else 0
        shown = ShownContent(self.grid, ring_tubes=ring_tubes, channels=3)
        for tube, frames in enumerate(self.iter_source()):
            moved = self.moved[tube]
            camera = shown.predict(self.camera_motion[tube]) if moved.any() else None
            shown.commit(frames, self.keep[tube], camera, moved)
            yield shown.picture

    def source_frames(self) -> UInt8Array:
        """Give the frames the gate judged, decoded again for files: uint8 [F, h, w, 3], F = T * tube_frames."""
        return self._gathered(self.iter_source())

    def reconstruct(self) -> UInt8Array:
        """Show the video from its kept cells alone.

        Returns:
            uint8 [F, h, w, 3], F = T * tube_frames. Skipped cells show their anchor's content, moved along
            with the camera where the plan says so; cells that were never shown are mid-grey (128).

        Raises:
            VideoError: the file can no longer be read.
            PlanError: the plan travelled without its video.
        """
        return self._gathered(self.iter_reconstruction())

    def _gathered(self, tubes: Iterator[UInt8Array]) -> UInt8Array:
        frames = np.empty((len(self.keep), self.tube_frames, self.height_px, self.width_px, 3), np.uint8)
        for number, tube in enumerate(tubes):
            frames[number] = tube
        return frames.reshape(-1, *frames.shape[2:])  # [T * k, h, w, 3]


def _one_after_the_other(plans: Sequence[GatePlan]) -> OpenFrames | None:
    """The frames of all plans, None where one travelled without them."""
    if any(plan.open_frames is None for plan in plans):
        return None
    return lambda: chain.from_iterable(tube for plan in plans for tube in plan.iter_source())


@cache
def _no_motion(tube_frames: int) -> Float32Array:
    """The identity map of one tube, float32 [1, k, 2, 3]."""
    return np.tile(np.eye(2, 3, dtype=np.float32), (1, tube_frames, 1, 1))
