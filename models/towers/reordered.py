"""Towers whose stock models take pixels in an order of their own: framegate's rows, cell by cell, there and back."""

from __future__ import annotations

from typing import Any

import torch
from einops import rearrange
from torch import Tensor
from transformers.modeling_outputs import BaseModelOutputWithPooling

from framegate.models.mechanism import Encoded
from framegate.models.towers.one_axis import OneAxisTower
from framegate.models.towers.patches import CHANNELS
from framegate.models.video_tokens import VideoTokens

# Dimensions of framegate's rows, [patches, C * t * p * p]; pixels of stock processors have more.
_ROWS = 2


def cell_order(grid_thw: Tensor, merge_size: int) -> Tensor:
    """Number of each patch, row by row, in the order of cells: int64 [N], of dense grids int64 [V, 3]."""
    parts, start = [], 0
    for tubes, height, width in grid_thw.tolist():
        count = tubes * height * width
        parts.append(
            rearrange(
                torch.arange(start, start + count),
                "(t H m W n) -> (t H W m n)",
                t=tubes,
                m=merge_size,
                n=merge_size,
                H=height // merge_size,
            )
        )
        start += count
    return torch.cat(parts)


def by_cells(rows: Tensor, grid_thw: Tensor, merge_size: int) -> Tensor:
    """Bring patches [N, ...] from row by row to cell by cell."""
    return rows[cell_order(grid_thw, merge_size).to(rows.device)]


def by_rows(rows: Tensor, grid_thw: Tensor, merge_size: int) -> Tensor:
    """Bring patches [N, ...] from cell by cell to row by row, the inverse of `by_cells`."""
    return rows[cell_order(grid_thw, merge_size).argsort().to(rows.device)]


def channels_last(rows: Tensor) -> Tensor:
    """Bring the values of patches from [..., C * p * p] to [..., p * p * C]."""
    return rearrange(rows, "... (c n) -> ... (n c)", c=CHANNELS)


def channels_first(rows: Tensor) -> Tensor:
    """Bring the values of patches from [..., p * p * C] to [..., C * p * p]."""
    return rearrange(rows, "... (n c) -> ... (c n)", c=CHANNELS)


class ReorderedTower(OneAxisTower):
    """A tower of kept rows whose model takes the pixels of videos otherwise; a family says how.

    What an attached processor gated comes as rows already, cell by cell; all else as the stock processor has it.
    """

    def grids(self, call: dict[str, Any]) -> Tensor:
        """Tubes, rows and columns of patches of each video of a stock call, int64 [V, 3].

        PlaceholderError where the call does not say it, or its pixels are cut otherwise than they can be served.
        """
        raise NotImplementedError

    def rows(self, call: dict[str, Any], grid_thw: Tensor) -> Tensor:
        """Patches [N, C * t * p * p] of stock pixels, cell by cell."""
        raise NotImplementedError

    def stock(self, rows: Tensor, call: dict[str, Any], grid_thw: Tensor) -> Tensor:
        """Stock pixels of all patches, the inverse of `rows`."""
        raise NotImplementedError

    def opened(self, call: dict[str, Any]) -> dict[str, Any]:
        """Bring the pixels of a call's videos to rows, and note their dense grids."""
        pixels = call.get("pixel_values_videos")
        if pixels is None:
            return call
        grid_thw = self.grids(call)
        rows = pixels if pixels.ndim == _ROWS else self.rows(call, grid_thw)
        return call | {"pixel_values_videos": rows, "video_grid_thw": grid_thw}

    def closed(self, call: dict[str, Any]) -> dict[str, Any]:
        """Bring rows of whole videos back to what the stock model takes."""
        rows, grid_thw = call.get("pixel_values_videos"), call.get("video_grid_thw")
        if rows is None or grid_thw is None:
            return call
        rest = {name: value for name, value in call.items() if name != "video_grid_thw"}
        return rest | {"pixel_values_videos": self.stock(rows, call, grid_thw)}

    def media(self, encoded: Encoded, tokens: VideoTokens, call: dict[str, Any]) -> dict[str, Any]:
        """The tokens of each video, and the features of pictures."""
        video = BaseModelOutputWithPooling()
        video.pooler_output = list(tokens.features.split(tokens.counts))
        media = {"video": video}
        if call.get("pixel_values") is not None:
            media["image"] = self.pictures(call)
        return media

    def pictures(self, call: dict[str, Any]) -> Any:
        """Features of a call's pictures, by the model's own path."""
        raise NotImplementedError
