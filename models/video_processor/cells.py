"""Which cells of a clip are encoded: the gate over the pixels of a clip, as it is read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from framegate.models.towers.patches import Float32Array, PatchLayout
from framegate.models.video_processor.grid_clip import JudgedPixels
from framegate.models.video_processor.notes import Stopwatch
from framegate.tokenizers.gate.gate import never, plan_gate
from framegate.tokenizers.gate.grid import CellGrid
from framegate.tokenizers.plan_config import PlanConfig

Int32Array = npt.NDArray[np.int32]


@dataclass(frozen=True, kw_only=True)
class CellChoice:
    """What the gate decided on one clip.

    Args:
        scale: side of the token that stands at each cell, 0 for none, int8 [T, H, W].
        anchor: tube that stands for each cell, int32 [T, H, W]; its own where kept, -1 where never shown.
        motion_px: where that content lies, (x, y) from the cell, float32 [T, H, W, 2].
        residual: by how much each cell had changed, float32 [T, H, W].
        notes: what stood aside, and why.
    """

    scale: npt.NDArray[np.int8]
    anchor: Int32Array
    motion_px: Float32Array
    residual: Float32Array
    notes: tuple[str, ...]


def choose_cells(
    clip: JudgedPixels, config: PlanConfig, layout: PatchLayout, watch: Stopwatch
) -> CellChoice | None:
    """Run the gate over a clip.

    Args:
        clip: read once, in the pixels that decide; never held whole.
        config: what decides on frames and cells.
        layout: the size of cells and tubes.
        watch: the time of reading goes to "stream", the rest to "gate".

    Returns:
        The decisions, None where the configuration skips nothing.

    Raises:
        BudgetError: the budget leaves less than one token.
        VideoError: the file cannot be read.

    Source: ours.
    """
    if config.gate is None:
        return None
    height_px, width_px = clip.size_px
    grid = CellGrid.of(height_px, width_px, cell_px=layout.cell_px, tube_frames=layout.temporal_patch_size)
    forced = clip.has_codec_keyframe if config.gate.codec_keyframes else never
    with watch.timing("gate", apart_from="stream"):
        pixels = watch.reading("stream", clip.pixels(config.judged_format))
        run = plan_gate(pixels, grid, config.gate, config.budget, forced_keyframe=forced)
        anchor, motion_px = run.anchor, run.motion_px
    notes = run.notes
    if config.gate.codec_keyframes and not clip.knows_codec_keyframes:
        notes += (
            "codec_keyframes stands aside: the source does not say which frames are the codec's keyframes",
        )
    return CellChoice(scale=run.side, anchor=anchor, motion_px=motion_px, residual=run.residual, notes=notes)
