"""GatePlan: which cells of a video are encoded, and what stands for the others. Pure data, no pixels, no features."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from framegate.tokenizers.gate.areas.levels import BoolArray, Int8Array
from framegate.tokenizers.gate.gate import tubes_of
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.gate.provenance import Int32Array, anchors_of
from framegate.tokenizers.gate.residual import FloatArray
from framegate.tokenizers.gate.run import GateRun
from framegate.tokenizers.gate.shown import ShownContent, ring_tubes_for
from framegate.types import Float64Array, UInt8Array

OpenFrames = Callable[[], Iterator[UInt8Array]]


@dataclass(frozen=True, kw_only=True)
class GatePlan:
    """Which cells are encoded, per tube.

    Args:
        keep: cells at which a token is encoded, bool [T, H, W].
        scale: side, in cells, of the area that the token encoded at this cell stands for, int8 [T, H, W]: 1 for
            the cell alone; 0 where no token is encoded, other cells of a larger area included.
        covered: cells whose content is encoded in their tube by a token of any side, bool [T, H, W].
        anchor: tube whose encoded content stands for the cell, int32 [T, H, W]: its own when covered, -1 when
            never shown.
        motion_px: displacement (x, y) from the cell to where its anchor's content lies, float32 [T, H, W, 2].
        residual: by how much the cell differed from what was shown when it was decided on, float32 [T, H, W];
            0 in the first tube.
        timestamps_seconds: time of each tube's first frame, float64 [T].
        keyframes: tubes that are covered whole, bool [T].
        grid: geometry: cell_px, tube_frames, height_px, width_px.
        notes: what stood aside or was relaxed, and why.
        dense_cells: cells of the video at full size where frames were made smaller; None where they were not.
        moved: skipped cells that follow the camera, bool [T, H, W].
        camera_motion: float32 [T, k, 2, 3], affine maps from each tube's pixels to those of the tube before.
        open_frames: gives the source frames afresh, uint8 [h, w, 3] RGB.
    """

    keep: BoolArray = field(repr=False)
    scale: Int8Array = field(repr=False)
    covered: BoolArray = field(repr=False)
    anchor: Int32Array = field(repr=False)
    motion_px: FloatArray = field(repr=False)
    residual: FloatArray = field(repr=False)
    timestamps_seconds: Float64Array = field(repr=False)
    keyframes: BoolArray = field(repr=False)
    grid: CellGrid
    notes: tuple[str, ...] = ()
    dense_cells: int | None = None
    moved: BoolArray = field(repr=False)
    camera_motion: FloatArray = field(repr=False)
    open_frames: OpenFrames = field(repr=False, compare=False)

    @classmethod
    def of(
        cls,
        run: GateRun,
        grid: CellGrid,
        timestamps_seconds: Float64Array,
        open_frames: OpenFrames,
        *,
        notes: tuple[str, ...] = (),
        dense_cells: int | None = None,
    ) -> GatePlan:
        """Make a plan of a run's decisions.

        Args:
            run: decisions; motion in pixels of the grid's frames.
            grid: geometry.
            timestamps_seconds: time of each frame, float64 [F].
            open_frames: gives the source frames afresh, uint8 [h, w, 3] RGB.
            notes: what stood aside or was relaxed, and why.
            dense_cells: cells of the video at full size where frames were made smaller.

        Returns:
            The plan.

        Source: ours.
        """
        anchor, motion_px = anchors_of(run, grid)
        return cls(
            keep=run.keep,
            scale=run.scale,
            covered=run.covered,
            anchor=anchor,
            motion_px=motion_px,
            residual=run.residual,
            timestamps_seconds=np.asarray(timestamps_seconds, np.float64)[:: grid.tube_frames],
            keyframes=np.all(run.covered.reshape(len(run.covered), -1), axis=1),
            grid=grid,
            notes=notes,
            dense_cells=dense_cells,
            moved=run.moved,
            camera_motion=run.motion,
            open_frames=open_frames,
        )

    def __repr__(self) -> str:
        tubes, rows, columns = self.keep.shape
        return f"GatePlan({self.num_kept} of {self.num_cells} cells, {tubes} tubes of {rows} x {columns})"

    @property
    def num_kept(self) -> int:
        """Tokens that are encoded."""
        return int(self.keep.sum())

    @property
    def num_cells(self) -> int:
        """All cells, T * H * W, those of frames at full size."""
        return self.keep.size if self.dense_cells is None else self.dense_cells

    @property
    def keep_ratio(self) -> float:
        """Tokens that are encoded, as a share of all cells."""
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

    def iter_source(self) -> Iterator[UInt8Array]:
        """Read the source again, tube by tube: uint8 [k, h, w, 3] RGB; the last tube repeats its last frame."""
        return tubes_of(self.open_frames(), self.tube_frames)

    def iter_reconstruction(self) -> Iterator[UInt8Array]:
        """Show what kept cells alone can show, tube by tube: uint8 [k, h, w, 3]; read it before the next step."""
        ring_tubes = ring_tubes_for(self.grid) if self.moved.any() else 0
        shown = ShownContent(self.grid, ring_tubes=ring_tubes, channels=3)
        for tube, frames in enumerate(self.iter_source()):
            moved = self.moved[tube]
            camera = shown.predict(self.camera_motion[tube]) if moved.any() else None
            shown.commit(frames, self.scale[tube], camera, moved)
            yield shown.picture

    def source_frames(self) -> UInt8Array:
        """Give the frames the gate judged, decoded again for files: uint8 [F, h, w, 3], F = T * tube_frames."""
        return self._gathered(self.iter_source())

    def reconstruct(self) -> UInt8Array:
        """Show the video from its kept cells alone.

        Returns:
            uint8 [F, h, w, 3], F = T * tube_frames. Skipped cells show their anchor's content, moved along
            with the camera where the plan says so; areas encoded in one token show it raised to their size;
            cells that were never shown are mid-grey (128).

        Raises:
            VideoError: the file can no longer be read.

        Source: ours.
        """
        return self._gathered(self.iter_reconstruction())

    def _gathered(self, tubes: Iterator[UInt8Array]) -> UInt8Array:
        frames = np.empty((len(self.keep), self.tube_frames, self.height_px, self.width_px, 3), np.uint8)
        for number, tube in enumerate(tubes):
            frames[number] = tube
        return frames.reshape(-1, *frames.shape[2:])  # [T * k, h, w, 3]
