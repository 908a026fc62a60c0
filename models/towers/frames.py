"""Towers that get a video's frames by the path of pictures, one picture a frame, as the attachment sees them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from framegate.errors import PlaceholderError
from framegate.models.cell_plan import CellPlan
from framegate.models.mechanism import Encoded
from framegate.models.towers.grid import GridTower
from framegate.models.towers.grid_geometry import MediaFeatures, patches_of_cells
from framegate.models.video_tokens import VideoTokens
from framegate.tokenizers.gate.packing import NOTES_KEY, PLAN_KEY, noted_shapes

# Frames of each video, int64 [V]: by which a caller without an attached processor says that pixel_values are videos.
FRAMES_KEY = "framegate_video_frames"


class FramesTower(GridTower):
    """A grid tower whose model knows pictures alone: the frames of its videos come and go as pixel_values.

    What an attached processor noted says that pixel_values are frames, and of which videos; without one a caller can
    say it by FRAMES_KEY, in a call without pictures. A call without either is one of pictures, and left alone.
    """

    def opened(self, call: dict[str, Any]) -> dict[str, Any]:
        """Move what stands for videos from pixel_values to pixel_values_videos."""
        pixels, frames = call.get("pixel_values"), _frames_of(call)
        if pixels is None or frames is None:
            return call
        if pixels.ndim > 4:
            pixels = pixels.flatten(0, 1)  # video by video
        if pixels.ndim > 2:
            if len(set(frames)) > 1 or len(pixels) != sum(frames):
                raise PlaceholderError(
                    f"pixel_values holds {len(pixels)} frames, and the videos have {frames}. Pass videos of one length "
                    "in a call, and no picture beside them."
                )
            pixels = pixels.unflatten(0, (len(frames), frames[0]))
        rest = {name: value for name, value in call.items() if name != FRAMES_KEY}
        return rest | {"pixel_values": None, "pixel_values_videos": pixels}

    def closed(self, call: dict[str, Any]) -> dict[str, Any]:
        """Move whole videos [V, F, C, h, w] back to pixel_values, frame by frame."""
        videos = call.get("pixel_values_videos")
        if videos is None:
            return call
        rest = {name: value for name, value in call.items() if name != "pixel_values_videos"}
        return rest | {"pixel_values": videos.flatten(0, 1)}

    def check_kept(self, call: dict[str, Any], cells: CellPlan) -> None:
        """Check the rows of a processor, which a few empty ones may follow (`in_equal_parts`)."""
        pixels = call["pixel_values_videos"]
        rows = self._rows_of(pixels, cells)
        if rows is not pixels and len(pixels) - len(rows) >= len(cells.shapes):
            raise PlaceholderError(
                f"pixel_values has {len(pixels)} rows; {NOTES_KEY} and {PLAN_KEY} ask for {len(rows)}. Pass all "
                "keys of one processor call."
            )
        super().check_kept(call | {"pixel_values_videos": rows}, cells)

    def encode(self, pixels: Tensor, call: dict[str, Any], cells: CellPlan, **how: Any) -> Encoded:
        """Features of the kept cells in token order."""
        return super().encode(self._rows_of(pixels, cells), call, cells, **how)

    def reused_pixels(self, pixels: Tensor, cells: CellPlan, call: dict[str, Any]) -> Tensor:
        """Rows of all patches, in which every skipped one has its anchor's."""
        return super().reused_pixels(self._rows_of(pixels, cells), cells, call)

    def stock_pixels(self, pixels: Tensor, cells: CellPlan, call: dict[str, Any]) -> Tensor | None:
        """Frames [V, F, C, h, w] in which every skipped patch has its anchor's."""
        return super().stock_pixels(self._rows_of(pixels, cells), cells, call)

    def placeholders(self, call: dict[str, Any]) -> Tensor:
        """All placeholders of pictures: in a call of videos there is no picture."""
        found: Tensor = call["input_ids"] == self.inner.config.image_token_id
        return found

    def media(self, encoded: Encoded, tokens: VideoTokens, call: dict[str, Any]) -> dict[str, Any]:
        """The tokens of each video, as features of pictures."""
        return {"image": MediaFeatures(pooler_output=list(tokens.features.split(tokens.counts)))}

    def _rows_of(self, pixels: Tensor, cells: CellPlan) -> Tensor:
        """The rows that a plan names, without empty ones at the end."""
        if pixels.ndim > 2:
            return pixels
        wanted = int(patches_of_cells(self._frames(cells.keep), self.side).sum())
        return pixels[:wanted] if len(pixels) > wanted else pixels


def _frames_of(call: dict[str, Any]) -> list[int] | None:
    """Frames of each video of a call; None for a call of pictures."""
    if call.get(NOTES_KEY) is not None:
        return [shape[0] for shape in noted_shapes(call[NOTES_KEY])]
    said = call.get(FRAMES_KEY)
    return None if said is None else [int(count) for count in said]


def in_equal_parts(rows: Tensor, num_videos: int) -> Tensor:
    """Give every video of a call the same number of rows, for stock processors that take videos apart by number.

    [K, D] of V videos -> [V, ceil(K / V), D], the same rows in order; fewer than V empty ones follow.
    """
    each = -(-len(rows) // num_videos)
    empty = rows.new_zeros(each * num_videos - len(rows), rows.shape[1])
    return torch.cat([rows, empty]).unflatten(0, (num_videos, each))
