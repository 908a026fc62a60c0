"""Towers that take packed sequences, as the attachment sees them (`framegate.models.mechanism.Mechanism`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from framegate.errors import FrameError, PlaceholderError
from framegate.kernels.backend import Backend
from framegate.kernels.compact import compact
from framegate.models.cell_plan import CellPlan
from framegate.models.family import Family
from framegate.models.mechanism import Encoded, JudgedFrames
from framegate.models.prompt import full_positions, has_stamps, token_types
from framegate.models.towers.grid_geometry import MediaFeatures
from framegate.models.towers.offloaded import device_for
from framegate.models.towers.packed_anchored import anchor_rows, cells_with_keys
from framegate.models.towers.packed_layout import layout, packed_kwargs
from framegate.models.towers.patches import PatchLayout, Scaling, luma_of_rows, unpatchify
from framegate.models.transformers_private import OWN_ATTENTION, attention_of
from framegate.models.video_tokens import Shape, VideoTokens

# rows, dense grids [V, 3], the plan and precomputed keyword arguments to the tower's output object
TowerCall = Callable[[Tensor, Tensor, CellPlan, dict[str, Any]], Any]


class PackedTower:
    """A tower that takes packed sequences, of one model; a family whose tower is called otherwise says how.

    Args:
        inner: the model without its language-model head.
        family: its family.
        scaling: how the pixels of its calls were scaled.
    """

    consumed: tuple[str, ...] = (
        "pixel_values",
        "image_grid_thw",
        "video_grid_thw",
        "second_per_grid_ts",
        "mm_token_type_ids",
    )
    columns: tuple[str, ...] = ()
    encodes_tubes_apart = True

    def __init__(self, inner: Any, family: Family, scaling: Scaling) -> None:
        self.inner, self.family, self.scaling = inner, family, scaling

    def run(self, rows: Tensor, grid_thw: Tensor, cells: CellPlan, kwargs: dict[str, Any]) -> Any:
        """Call the tower on the rows of kept cells, [kept patches, C * t * p * p]; `pooler_output` is [kept cells, D].

        `kwargs` are what it would compute from the dense grids, int64 [V, 3], itself.
        """
        return self.tower(rows, grid_thw=grid_thw, return_dict=True, **kwargs)

    def runner(self, call: dict[str, Any]) -> TowerCall:
        """How the tower is called in a call: alike in all."""
        return self.run

    def tube_lengths(self, call: dict[str, Any]) -> list[int] | None:
        """None: all tubes have as many frames."""
        return None

    @property
    def tower(self) -> Any:
        """The vision tower."""
        return getattr(self.inner, self.family.tower_modules[0])

    @property
    def layout(self) -> PatchLayout:
        """How the tower wants pixels cut and scaled."""
        return PatchLayout(
            patch_size_px=self.tower.config.patch_size,
            temporal_patch_size=self.tube_frames,
            merge_size=self.merge_size,
            mean=self.scaling.mean,
            std=self.scaling.std,
            rescale_factor=self.scaling.rescale_factor,
        )

    @property
    def cell_px(self) -> int:
        """Side of a cell."""
        return self.layout.cell_px

    @property
    def merge_size(self) -> int:
        """Patches along the side of a cell."""
        return int(self.tower.config.spatial_merge_size)

    @property
    def tube_frames(self) -> int:
        """Frames of a tube."""
        return int(self.tower.config.temporal_patch_size)

    def shapes(self, call: dict[str, Any]) -> list[Shape]:
        """Tubes, rows and columns of cells of each video."""
        grids = call.get("video_grid_thw")
        if grids is None:
            raise PlaceholderError(
                "pixel_values_videos came without video_grid_thw; pass both, of one processor call."
            )
        merge_size = self.layout.merge_size
        return [(t, h // merge_size, w // merge_size) for t, h, w in grids.tolist()]

    def num_patches(self, call: dict[str, Any]) -> int:
        """Patches of all videos when nothing is skipped."""
        return int(call["video_grid_thw"].prod(-1).sum())

    def judged(self, call: dict[str, Any]) -> list[JudgedFrames]:
        """The videos of stock pixels, as frames."""
        grids, pixels, layout = call["video_grid_thw"].tolist(), call["pixel_values_videos"], self.layout
        counts = [t * h * w for t, h, w in grids]
        self._check_rows(call, sum(counts))
        parts = pixels.split(counts)
        _check_finite(parts)
        return [
            JudgedFrames(
                frames=unpatchify(part, (grid[0], grid[1], grid[2]), layout),
                cell_px=layout.cell_px,
                tube_frames=layout.temporal_patch_size,
            )
            for part, grid in zip(parts, grids, strict=True)
        ]

    def luma(self, call: dict[str, Any]) -> list[Tensor]:
        """Luma of the videos, uint8 [T, k, h, w] each, on the pixels' device."""
        grids, pixels = call["video_grid_thw"].tolist(), call["pixel_values_videos"]
        counts = [t * h * w for t, h, w in grids]
        self._check_rows(call, sum(counts))
        parts = pixels.split(counts)
        _check_finite(parts)
        return [
            luma_of_rows(part, (t, h, w), self.layout) for part, (t, h, w) in zip(parts, grids, strict=True)
        ]

    def kept_pixels(self, call: dict[str, Any], cells: CellPlan, *, backend: Backend) -> Tensor:
        """Rows of the kept cells, in token order."""
        pixels: Tensor = call["pixel_values_videos"]
        by_cell = pixels.reshape(len(cells.keep), -1)  # [N * 4, C*t*p*p] -> [N, 4 * C*t*p*p]
        kept = compact(by_cell, cells.keep.to(pixels.device), cells.num_kept, backend=backend)
        return kept.reshape(-1, pixels.shape[1])

    def check_kept(self, call: dict[str, Any], cells: CellPlan) -> None:
        """Check the rows that a processor handed over against its cells."""
        self._check_rows(call, cells.num_kept * self.layout.patches_per_cell)

    def tube_rows(self, pixels: Tensor, cells: CellPlan) -> list[Tensor]:
        """Rows of the kept cells of each tube."""
        return list(pixels.split([kept * self.layout.patches_per_cell for kept in cells.kept_per_tube]))

    def reused_pixels(self, pixels: Tensor, cells: CellPlan, call: dict[str, Any]) -> Tensor:
        """Rows [dense patches, C * t * p * p] in which every skipped cell has its anchor's."""
        rows_per_cell = self.layout.patches_per_cell
        rank = cells.keep.long().cumsum(0) - 1
        rows = rank[cells.anchor][:, None] * rows_per_cell + torch.arange(rows_per_cell)
        return pixels[rows.flatten().to(pixels.device)]

    def stock_pixels(self, pixels: Tensor, cells: CellPlan, call: dict[str, Any]) -> Tensor | None:
        """The same rows: the stock model takes them as they are."""
        return pixels if bool(cells.keep.all()) else self.reused_pixels(pixels, cells, call)

    def encode(
        self, pixels: Tensor, call: dict[str, Any], cells: CellPlan, *, anchored: bool, backend: Backend
    ) -> Encoded:
        """Features of the kept cells in token order."""
        moves_keys = not self.family.learned_positions
        out = encode_kept(
            self.tower,
            pixels,
            call["video_grid_thw"],
            cells,
            anchored=anchored,
            moves_keys=moves_keys,
            backend=backend,
            run=self.runner(call),
        )
        notes = (_keys_note(cells, moves_keys=moves_keys),) if anchored else ()
        return Encoded(_layers(out), out, notes)

    def read_along(self, caller: Mapping[str, Any], ids: Tensor) -> dict[str, Tensor]:
        """Nothing: ids and positions tell all that the model reads of a token."""
        return {}

    def media(self, encoded: Encoded, tokens: VideoTokens, call: dict[str, Any]) -> dict[str, Any]:
        """Tokens of the videos, and the features of images, as the stock model takes them."""
        # no output where the tower did not run, for every tube was remembered
        video = MediaFeatures() if encoded.output is None else encoded.output
        video.pooler_output = list(tokens.features.split(tokens.counts))
        if len(tokens.layers) > 1:
            video.deepstack_features = [list(layer.split(tokens.counts)) for layer in tokens.layers[1:]]
        media = {"video": video}
        if call.get("pixel_values") is not None:
            media["image"] = self.inner.get_image_features(
                call["pixel_values"], call["image_grid_thw"], return_dict=True
            )
        return media

    def is_stamped(self, call: dict[str, Any]) -> bool:
        """True when stamps of time that the stock model cannot place stand between the tubes of a video."""
        if self.family.writes_times or not self.family.takes_stamps:
            return False
        return has_stamps(self.inner.config, call, self.types(call))

    def positions(self, call: dict[str, Any], attention_mask: Tensor) -> Tensor:
        """Positions of the caller's prompt on the three vision axes, int64 [3, B, S]."""
        return full_positions(
            self.inner, call, attention_mask, types=self.types(call), stamped=self.is_stamped(call)
        )

    def types(self, call: dict[str, Any]) -> Tensor:
        """Kinds of the caller's tokens, int [B, S]: text 0, image 1, video 2."""
        given = call.get("mm_token_type_ids")
        return token_types(self.inner.config, call["input_ids"]) if given is None else given

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

    def _check_rows(self, call: dict[str, Any], wanted: int) -> None:
        found, grids = len(call["pixel_values_videos"]), call["video_grid_thw"].tolist()
        if found != wanted:
            raise PlaceholderError(
                f"pixel_values_videos has {found} patches; video_grid_thw {grids} asks for {wanted}. If an attached "
                "processor made them, framegate_plan got lost on the way: Trainer needs remove_unused_columns=False."
            )


def encode_kept(
    tower: Any,
    pixel_values: Tensor,
    grid_thw: Tensor,
    cells: CellPlan,
    *,
    anchored: bool = False,
    moves_keys: bool = True,
    backend: Backend = "auto",
    run: TowerCall | None = None,
) -> Any:
    """Encode the kept cells of all videos in one call of the tower.

    Args:
        tower: a vision tower that takes packed sequences.
        pixel_values: [kept patches, C * t * p * p], kept cells only, in token order.
        grid_thw: int64 [V, 3], the dense grids in patches.
        cells: the flat plan of all videos.
        anchored: let kept queries see the anchors of skipped cells; needs the attention function of
            `towers.packed_anchored` set on the tower.
        moves_keys: the keys of anchors can be turned to the places of the cells that they stand for.
        backend: how that function runs, where it is set.
        run: how the tower is called; None for rows, grid_thw and the precomputed keyword arguments.

    Returns:
        The tower's output object; `pooler_output` is a list of [kept_i, D], one per video, and
        `deepstack_features`, where the tower has them, a list of such lists.
    """
    grid = grid_thw.cpu()
    merge_size = int(grid[0, 1]) // cells.shapes[0][1]
    dense = layout(tower, grid, merge_size)
    kwargs = packed_kwargs(tower, grid, cells.keep, dense, merge_size=merge_size, keep_empty=anchored)
    at = device_for(tower, pixel_values)
    kwargs = {name: tensor.to(at) for name, tensor in kwargs.items()}
    if attention_of(tower.config) == OWN_ATTENTION:
        kwargs |= {"framegate_backend": backend, "framegate_tiles": {}}
    if anchored:
        kwargs["framegate_anchors"] = anchor_rows(
            tower, cells, dense, merge_size=merge_size, moves_keys=moves_keys, device=at
        )
    rows = pixel_values.to(at, tower.dtype)
    if run is None:
        out = tower(rows, grid_thw=grid_thw, return_dict=True, **kwargs)
    else:
        out = run(rows, grid_thw, cells, kwargs)
    counts = cells.kept_per_video
    out.pooler_output = list(out.pooler_output.split(counts))
    if getattr(out, "deepstack_features", None) is not None:
        out.deepstack_features = [list(layer.split(counts)) for layer in out.deepstack_features]
    return out


def _keys_note(cells: CellPlan, *, moves_keys: bool) -> str:
    """How many skipped cells kept queries see, and how many moved too far from their learned position."""
    skipped = (cells.anchor >= 0) & ~cells.keep
    seen = int((cells_with_keys(cells, moves_keys=moves_keys) & skipped).sum())
    unseen = int(skipped.sum()) - seen
    why = f"; {unseen:,} that moved give none, for a learned position is part of it" if unseen else ""
    return f"context anchored: {seen:,} skipped cells give kept ones a key{why}"


def _layers(out: Any) -> list[Tensor]:
    deepstack = getattr(out, "deepstack_features", None) or []
    return [torch.cat(out.pooler_output), *(torch.cat(layer) for layer in deepstack)]


def _check_finite(videos: tuple[Tensor, ...]) -> None:
    for number, pixels in enumerate(videos):
        if not bool(torch.isfinite(pixels).all()):
            patch = int((~torch.isfinite(pixels)).any(1).nonzero()[0])
            raise FrameError(
                f"pixel_values_videos of video {number} is not finite, first in its patch {patch}; "
                "check the frames that went into the processor."
            )
