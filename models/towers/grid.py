"""Towers that pool whole frames to cells, as the attachment sees them (`framegate.models.mechanism.Mechanism`)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from framegate.errors import AttachmentError, FrameError, PlaceholderError
from framegate.kernels.backend import Backend
from framegate.kernels.compact import compact
from framegate.models.cell_plan import CellPlan
from framegate.models.family import Family
from framegate.models.mechanism import Encoded, JudgedFrames
from framegate.models.prompt import is_interleaved, token_types
from framegate.models.prompt.positions import text_positions
from framegate.models.towers.grid_encode import pool_kept
from framegate.models.towers.grid_geometry import (
    JudgedSize,
    anchor_tubes,
    cut_patches,
    first_bad_frame,
    judged_frame,
    judged_size,
    patches_of_cells,
    pooled_side,
    reused_patches,
    whole_frames,
)
from framegate.models.towers.patches import CHANNELS, Scaling
from framegate.models.video_tokens import Shape, VideoTokens
from framegate.tokenizers.gate.packing import NOTES_KEY, PLAN_KEY, noted_shapes

# Dimensions of stock pixels, [V, F, C, h, w]; rows of patches have two.
_WHOLE = 5


class GridTower:
    """A tower that takes whole frames and whose grid of patches is pooled to cells; a family says how.

    Args:
        inner: the model without its language-model head.
        family: its family.
        scaling: how the pixels of its calls were scaled.
    """

    consumed: tuple[str, ...] = ("pixel_values",)
    columns: tuple[str, ...] = ()
    encodes_tubes_apart = True
    # keyword arguments of a call that have one value alone on kept cells
    only: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, inner: Any, family: Family, scaling: Scaling) -> None:
        self.inner, self.family, self.scaling = inner, family, scaling

    def states(self, patches: Tensor, place: Tensor, lengths: list[int], call: dict[str, Any]) -> Tensor:
        """Run patches [K, C * p * p], frame by frame, through the tower, each frame on its own: [K, D] as `pool` takes
        them.

        `place`, int64 [K], is where each stands in its frame, row by row; `lengths` are the patches of each frame.
        """
        raise NotImplementedError

    def pool(self, grid: Tensor) -> Tensor:
        """Pool whole grids [f, n*n, D] to cells at the language model's width, [f, H*W, D']."""
        raise NotImplementedError

    def stock_features(self, pixels: Tensor, call: dict[str, Any]) -> Tensor:
        """Features [V, F*H*W, D] of whole frames [V, F, C, h, w], by the stock model's own path."""
        raise NotImplementedError

    def tube_lengths(self, call: dict[str, Any]) -> list[int] | None:
        """None: a tube is a frame."""
        return None

    def read_along(self, caller: Mapping[str, Any], ids: Tensor) -> dict[str, Tensor]:
        """Nothing: ids and positions tell all that the model reads of a token."""
        return {}

    def media(self, encoded: Encoded, tokens: VideoTokens, call: dict[str, Any]) -> dict[str, Any]:
        """The tokens of each video, and the features of images, as the stock model takes them."""
        raise NotImplementedError

    @property
    def merge_size(self) -> int:
        """Patches along the side of a cell."""
        assert self.family.recipe.cell_patches is not None, "a grid family states it"
        return self.family.recipe.cell_patches

    @property
    def tower(self) -> Any:
        """The vision tower."""
        return getattr(self.inner, self.family.tower_modules[0])

    @property
    def layout(self) -> None:
        """The tower cuts frames itself."""
        return None

    @property
    def cell_px(self) -> int:
        """Side of a cell in the frames that the gate judges."""
        return self._judged_size.cell_px

    @property
    def side(self) -> int:
        """Patches along one side of a frame."""
        return self._image_px // self._patch_px

    @property
    def _patch_px(self) -> int:
        return int(self.inner.config.vision_config.patch_size)

    @property
    def _image_px(self) -> int:
        return int(self.inner.config.vision_config.image_size)

    @property
    def _judged_size(self) -> JudgedSize:
        return judged_size(self.side, self._patch_px, self.merge_size)

    def shapes(self, call: dict[str, Any]) -> list[Shape]:
        """Frames, rows and columns of cells of each video."""
        pixels, cells = call["pixel_values_videos"], pooled_side(self.side, self.merge_size)
        if call.get(NOTES_KEY) is not None and pixels.ndim != _WHOLE:
            shapes: list[Shape] = list(noted_shapes(call[NOTES_KEY]))
            if any(shape[1:] != (cells, cells) for shape in shapes):
                raise PlaceholderError(
                    f"{NOTES_KEY} tells of videos of {shapes} cells; this model's frames have {cells} x {cells} cells."
                )
            return shapes
        wanted = (self._image_px, self._image_px)
        if pixels.ndim != _WHOLE or tuple(pixels.shape[-2:]) != wanted:
            raise PlaceholderError(
                f"pixel_values_videos is {tuple(pixels.shape)} without {NOTES_KEY}; this model needs "
                f"[videos, frames, 3, {wanted[0]}, {wanted[1]}]. If an attached processor made it, the key got lost "
                "on the way: Trainer needs remove_unused_columns=False."
            )
        return [(pixels.shape[1], cells, cells)] * len(pixels)

    def num_patches(self, call: dict[str, Any]) -> int:
        """Patches of all videos when nothing is skipped."""
        return sum(shape[0] for shape in self.shapes(call)) * self.side**2

    def judged(self, call: dict[str, Any]) -> list[JudgedFrames]:
        """The videos of stock pixels, as frames in which a cell's middle is the point that its token samples."""
        if call["pixel_values_videos"].ndim != _WHOLE:
            raise PlaceholderError(
                f"{NOTES_KEY} came without {PLAN_KEY}; pass all keys of one processor call."
            )
        return [self._judged_video(number, video) for number, video in enumerate(call["pixel_values_videos"])]

    def luma(self, call: dict[str, Any]) -> None:
        """No luma where the pixels are: frames are brought to whole cells first, on the CPU."""
        return None

    def kept_pixels(self, call: dict[str, Any], cells: CellPlan, *, backend: Backend) -> Tensor:
        """Rows of the patches that kept cells read, frame by frame."""
        patches = cut_patches(call["pixel_values_videos"].flatten(0, 1), self._patch_px).flatten(0, 2)
        needed = self._needed(cells).flatten()  # [F, n, n] -> [F*n*n]
        return compact(patches, needed.to(patches.device), int(needed.sum()), backend=backend)

    def check_kept(self, call: dict[str, Any], cells: CellPlan) -> None:
        """Check the rows that a processor handed over against its cells."""
        pixels, wanted = call["pixel_values_videos"], int(self._needed(cells).sum())
        if pixels.ndim == _WHOLE and bool(cells.keep.all()):
            return
        width = CHANNELS * self._patch_px**2
        if tuple(pixels.shape) != (wanted, width):
            raise PlaceholderError(
                f"pixel_values_videos is {tuple(pixels.shape)}; {NOTES_KEY} and {PLAN_KEY} ask for {wanted} "
                f"patches of {width} values. Pass all keys of one processor call."
            )

    def tube_rows(self, pixels: Tensor, cells: CellPlan) -> list[Tensor]:
        """Rows of each frame; of whole frames each as a video of its own, [1, 1, C, h, w]."""
        if pixels.ndim == _WHOLE:
            return list(pixels.flatten(0, 1)[:, None].split(1))
        # rows of a processor may have empty ones behind them
        counts = self._needed(cells).flatten(1).sum(1).tolist()
        return list(pixels[: sum(counts)].split(counts))

    def stock_pixels(self, pixels: Tensor, cells: CellPlan, call: dict[str, Any]) -> Tensor | None:
        """Frames [V, F, C, h, w] in which every skipped patch has its anchor's; None where videos differ in length."""
        frames = [shape[0] for shape in cells.shapes]
        if pixels.ndim == _WHOLE:
            return pixels
        if len(set(frames)) > 1:
            return None
        whole = whole_frames(self._reused(pixels, cells), self._patch_px, self._image_px)
        return whole.unflatten(0, (len(frames), frames[0]))

    def reused_pixels(self, pixels: Tensor, cells: CellPlan, call: dict[str, Any]) -> Tensor:
        """Rows of all patches, in which every skipped one has its anchor's."""
        return self._reused(pixels, cells).flatten(0, 2)

    def encode(
        self, pixels: Tensor, call: dict[str, Any], cells: CellPlan, *, anchored: bool, backend: Backend
    ) -> Encoded:
        """Features of the kept cells in token order."""
        assert not anchored, "refused at attach"
        for name, served in self.only.items():
            if call.get(name) not in (None, served):
                raise AttachmentError(
                    f"{name} is {call[name]!r}; on a compressed video of {self.family.model_class} it can be "
                    f"{served!r} alone. keep_ratio=1.0 takes what the stock model takes."
                )
        if pixels.ndim == _WHOLE:
            return Encoded([self.stock_features(pixels, call).flatten(0, 1)], None)
        return Encoded([self.encode_kept(pixels, self._frames(cells.keep), call)], None)

    def encode_kept(self, patches: Tensor, keep: Tensor, call: dict[str, Any] | None = None) -> Tensor:
        """Encode the patches under the kept cells of all frames, bool [F, H, W], and pool them to those cells.

        patches [K, C * p * p], those under kept cells, frame by frame, row by row -> [kept cells, D] in token order.
        """
        needed = patches_of_cells(keep, self.side).flatten(1)  # [F, n*n]
        assert len(patches) == int(needed.sum())
        place = needed.nonzero(as_tuple=True)[1]
        states = self.states(patches, place, needed.sum(1).tolist(), call or {})
        return pool_kept(states, needed, keep.flatten(1), self.pool)

    def placeholders(self, call: dict[str, Any]) -> Tensor:
        """Which of the caller's tokens stand for videos, bool [B, S]."""
        found: Tensor = call["input_ids"] == self.inner.config.video_token_id
        return found

    def opened(self, call: dict[str, Any]) -> dict[str, Any]:
        """The call as it came: its videos are in pixel_values_videos."""
        return call

    def closed(self, call: dict[str, Any]) -> dict[str, Any]:
        """The call as the stock model takes it: as it came."""
        return call

    def is_stamped(self, call: dict[str, Any]) -> bool:
        """True when stamps of time stand between the frames of a video."""
        if self.family.writes_times:
            return False
        ids = call["input_ids"]
        return is_interleaved(
            ids,
            token_types(self.inner.config, ids),
            num_videos=len(self.shapes(call)),
            vision_start_id=None,
        )

    def positions(self, call: dict[str, Any], attention_mask: Tensor) -> Tensor:
        """Positions of the caller's prompt, int64 [1, B, S]; [0, B, S] where the short prompt is to be counted."""
        return text_positions(self.inner, call, attention_mask)

    def _frames(self, cells: Tensor) -> Tensor:
        """Flat cells of all videos as frames: [N] -> [F, H, W]."""
        side = pooled_side(self.side, self.merge_size)
        return cells.view(-1, side, side)

    def _needed(self, cells: CellPlan) -> Tensor:
        return patches_of_cells(self._frames(cells.keep), self.side)

    def _reused(self, pixels: Tensor, cells: CellPlan) -> Tensor:
        needed = self._needed(cells)
        frames = [shape[0] for shape in cells.shapes]
        parts = pixels.split([int(video.sum()) for video in needed.split(frames)])
        return torch.cat(
            [
                reused_patches(rows, encoded, anchor_tubes(encoded))
                for rows, encoded in zip(parts, needed.split(frames), strict=True)
            ]
        )

    def _judged_video(self, number: int, pixels: Tensor) -> JudgedFrames:
        bad = first_bad_frame(pixels)
        if bad is not None:
            raise FrameError(
                f"pixel_values_videos of video {number} is not finite, first in its frame {bad}; "
                "check the frames that went into the processor."
            )
        size = self._judged_size
        mean, std = (torch.tensor(values)[:, None, None] for values in (self.scaling.mean, self.scaling.std))
        seen = pixels[..., : size.seen_px, : size.seen_px].float().cpu()
        whole = ((seen * std + mean) / self.scaling.rescale_factor).round().clamp(0, 255).byte()
        frames = whole.permute(0, 2, 3, 1).numpy()  # [F, h, w, 3]
        judged = np.stack([judged_frame(frame, size) for frame in frames])
        return JudgedFrames(frames=judged, cell_px=size.cell_px, tube_frames=1)
