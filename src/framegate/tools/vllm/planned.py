"""A video as the gate inside of vLLM hands it on: kept patches, what each cell shows, and the tokens of every tube."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers.video_utils import VideoMetadata

from framegate.config import FrontEndConfig
from framegate.errors import FrameError
from framegate.models.cell_plan import cell_plan
from framegate.models.stages.select.rules import equal_counts
from framegate.models.stages.select.stage import at_least_one
from framegate.models.video_processor.gated_video import GatedVideo, process_video
from framegate.models.video_processor.metadata import checked_metadata
from framegate.models.video_processor.processor import GatedVideoProcessor
from framegate.models.video_processor.sources import carried
from framegate.tools.vllm.settings import selects

# rows and columns travel beside features, and bfloat16 holds whole numbers up to here
MOST_CELLS_A_SIDE = 256


@dataclass(frozen=True, kw_only=True)
class PlannedVideo:
    """One video before it is scheduled.

    Args:
        rows: kept patches, float32 [patches, C * tp * p * p], in the tower's order.
        grid_thw: the dense grid, in patches.
        source: int32 [T * H * W], the cell whose features a cell shows, its own where it is encoded, -1 where it has
            no token.
        counts: int32 [T], tokens of each tube that the language model reads.
        metadata: of the frames that went in.
        notes: what was decided, for the log.
    """

    rows: Tensor = field(repr=False)
    grid_thw: tuple[int, int, int]
    source: Tensor = field(repr=False)
    counts: Tensor
    metadata: VideoMetadata = field(repr=False)
    notes: tuple[str, ...] = ()


def planned_video(
    frames: Any,
    metadata: Mapping[str, Any],
    processor: GatedVideoProcessor,
    config: FrontEndConfig,
    call: Mapping[str, Any],
) -> PlannedVideo:
    """Plan and cut a video.

    Args:
        frames: uint8 [F, h, w, 3].
        metadata: of the frames, as vLLM's loaders tell it: transformers' VideoMetadata as a mapping.
        processor: with the settings of the checkpoint's own.
        config: of the server (`settings.served_config`).
        call: settings of the request, by transformers' names.

    Raises:
        FrameError: frames or times that cannot be used, or more than 256 cells along a side.
        BudgetError: the budget leaves no token.
        ConfigError: an unknown setting.
    """
    told = VideoMetadata(**{name: value for name, value in metadata.items() if name != "do_sample_frames"})
    sampled = {"do_sample_frames": bool(metadata.get("do_sample_frames", False))}
    video = process_video(
        carried(frames), checked_metadata(told), processor.request(config.plan, sampled | dict(call))
    )
    layout = processor.request(config.plan, {}).settings.layout
    rows, columns = (side // layout.merge_size for side in video.grid_thw[1:])
    if max(rows, columns) > MOST_CELLS_A_SIDE:
        raise FrameError(
            f"Frames have {rows} x {columns} cells, and vLLM carries at most {MOST_CELLS_A_SIDE} along a side here: "
            "lower the size of the frames."
        )
    source = shown_cells(video, config, cell_px=layout.cell_px, merge_size=layout.merge_size)
    return PlannedVideo(
        rows=torch.from_numpy(video.rows),
        grid_thw=video.grid_thw,
        source=source.int(),
        counts=tokens_of_tubes(source.view(video.grid_thw[0], -1), config).int(),
        metadata=video.metadata,
        notes=video.plan.notes,
    )


def shown_cells(video: GatedVideo, config: FrontEndConfig, *, cell_px: int, merge_size: int) -> Tensor:
    """The cell whose features each cell shows, int64 [T * H * W]; -1 where it has no token."""
    cells = cell_plan([video.plan.anchor], [video.plan.motion_px], cell_px=cell_px, merge_size=merge_size)
    return cells.anchor if config.refills else torch.where(cells.keep, cells.anchor, -1)


def tokens_of_tubes(source: Tensor, config: FrontEndConfig) -> Tensor:
    """Count the tokens of every tube that the language model will read: known by the plan, not by features.

    Args:
        source: int64 [T, H * W], as of `PlannedVideo`.
        config: of the server.

    Returns:
        int64 [T]: what is shown; where that is more than the prompt's budget, its equal shares.

    Raises:
        BudgetError: keep_ratio is less than one token of the video.

    Source: ours; as `framegate.models.stages.select` shares tokens out behind the tower.
    """
    shown = (source >= 0).sum(1)
    encoded = int((source.flatten() == torch.arange(source.numel())).sum())
    target = config.prompt_target(dense=source.numel(), encoded=encoded, tubes=len(source))
    if not selects(config) or target is None or int(shown.sum()) <= target:
        return shown
    assert config.select is not None
    holds = shown > 0
    shares = equal_counts(shown[holds], target)
    if config.select.min_tokens_per_tube and target >= len(shares):
        shares = at_least_one(shares)
    return torch.zeros_like(shown).masked_scatter(holds, shares)
