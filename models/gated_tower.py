"""GatedTower: a vision transformer of timm on the cells of a video that changed, features for all of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn

from framegate.errors import ConfigError, PlanError
from framegate.models.cell_plan import cell_plan
from framegate.models.stages.refill import Refill
from framegate.models.stages.registry import StageCall, run_stages
from framegate.models.towers.patches import PatchLayout, patchify
from framegate.models.towers.timm_vit import check_timm, encode_patches, grid_side, view_of
from framegate.models.video_tokens import VideoTokens
from framegate.report import Report
from framegate.settings import Count, read
from framegate.tokenizers.gate.plan import GatePlan
from framegate.tokenizers.gate.video import TowerView, plan_video
from framegate.tokenizers.plan_config import PlanConfig
from framegate.types import FramePlan

_HALF = (0.5, 0.5, 0.5)
_RESAMPLES = ("bicubic", "bilinear")


@dataclass(frozen=True, kw_only=True)
class GatedFeatures:
    """What a tower gives for a video, on the dense grid.

    Args:
        sequence: per frame the class and register tokens and then all patches, row by row, [F, P + N, D]: what
            `forward_features` of the model gives, and its `forward_head` takes.
        num_prefix: P, class and register tokens of a frame.
        shown: patches that have features, their own or their anchor's, bool [F, N]; the others hold zeros.
        plan: which cells were encoded.
        report: shares, times and notes.
    """

    sequence: Tensor = field(repr=False)
    num_prefix: int
    shown: Tensor = field(repr=False)
    plan: GatePlan
    report: Report

    @property
    def features(self) -> Tensor:
        """Features of the patches, [F, N, D]."""
        return self.sequence[:, self.num_prefix :]


class GatedTower(nn.Module):
    """Runs a vision transformer of timm on the cells that a gate keeps, and shows the others by their anchors.

    A kept patch sees the kept patches of its frame, and its class and register tokens; so do they. A frame of which
    nothing is kept shows those tokens of the frame before it.

    Args:
        model: a VisionTransformer or Eva of timm; it stays as it is.
        config: which frames and cells are used.
        cell_patches: patches along the side of a cell, the area that is kept or skipped as one.
        notes: what of a configuration does not hold here, for reports.

    Raises:
        UnsupportedModelError: a model whose patches cannot be left out.
        ConfigError: cells that do not divide the model's grid, or a configuration without an anchor for every cell.
    """

    def __init__(
        self, model: Any, config: PlanConfig, *, cell_patches: int = 1, notes: tuple[str, ...] = ()
    ) -> None:
        super().__init__()
        check_timm(model)
        _check_config(config)
        side = read(cell_patches, Count, "cell_patches")
        self.grid = grid_side(model)
        if any(patches % side for patches in self.grid):
            raise ConfigError(
                f"cell_patches is {side}; {type(model).__name__} has {self.grid[0]} x {self.grid[1]} patches a frame, "
                "which must divide into whole cells."
            )
        self.model, self.config = model, config
        self._layout, self._view, assumed = _pixels_of(model, side)
        self._notes = (*notes, *assumed)

    def plan(
        self,
        video: Any,
        *,
        start_seconds: float | None = None,
        end_seconds: float | None = None,
        frames: FramePlan | None = None,
    ) -> GatePlan:
        """Decide which cells of a video would be encoded.

        Args:
            video: path, bytes or frames in memory, as `framegate.plan_video` takes them; frames of another size are
                brought to the model's, whatever their shape.
            start_seconds: start of the clip window, None for the beginning.
            end_seconds: end of the clip window, None for the end.
            frames: frames to use; None for those of the configuration's sampler.

        Returns:
            The plan, which the tower takes in place of the video.

        Raises:
            VideoError: the file cannot be read.
            FrameError: frames that cannot be used.
            BudgetError: the budget is below one cell.
        """
        window = (
            read(start_seconds, float | None, "start_seconds"),
            read(end_seconds, float | None, "end_seconds"),
        )
        return plan_video(video, self.config, tower=self._view, window_seconds=window, given=frames)

    def forward(self, video: Any) -> GatedFeatures:
        """Encode a video.

        Args:
            video: as `plan` takes it, or a plan that it made.

        Returns:
            Features of every patch of every frame, and the report.

        Raises:
            VideoError: the file cannot be read.
            FrameError: frames that cannot be used.
            PlanError: a plan for frames of another size, or one that travelled without its video.
        """
        report = Report(preset=self.config.preset, num_videos=1)
        plan = video
        if not isinstance(plan, GatePlan):
            with _timed(report, "gate"):
                plan = self.plan(video)
        self._check_plan(plan)
        with _timed(report, "patches"):
            rows = self._rows(plan)
        with _timed(report, "tower"):
            cells, prefix = self._encode(rows, plan)
        self._account(report, plan, len(rows))
        flat = cell_plan(
            [plan.anchor],
            [plan.motion_px],
            cell_px=self._layout.cell_px,
            merge_size=self._layout.merge_size,
        )
        tokens = VideoTokens.of_cells([cells], flat.keep, flat.anchor, flat.shapes)
        tokens = run_stages(tokens, {"refill": Refill()}, StageCall(report=report))
        report.kept_tokens = tokens.num_tokens
        patches, shown = self._on_grid(tokens)
        prefix = _up_to_each_frame(prefix, torch.from_numpy(plan.keep))
        return GatedFeatures(
            sequence=torch.cat([prefix, patches], dim=1),
            num_prefix=prefix.shape[1],
            shown=shown,
            plan=plan,
            report=report,
        )

    def _check_plan(self, plan: GatePlan) -> None:
        rows, columns = (patches * self._layout.patch_size_px for patches in self.grid)
        wanted = rows, columns, self._layout.cell_px, 1
        got = plan.height_px, plan.width_px, plan.cell_px, plan.tube_frames
        if got != wanted:
            raise PlanError(
                f"The plan is for frames of {got[1]} x {got[0]} px in cells of {got[2]} px, {got[3]} a tube; this "
                f"tower takes {columns} x {rows} px in cells of {wanted[2]} px, 1 a tube. Plan with its own `plan`."
            )

    def _rows(self, plan: GatePlan) -> Tensor:
        """Rows of the kept cells' patches, cell by cell, float32 [K, C * p * p]."""
        cells = zip(plan.iter_source(), plan.keep, strict=True)
        parts = [patchify(frame, self._layout, keep[None]) for frame, keep in cells if keep.any()]
        return torch.from_numpy(np.concatenate([np.empty((0, self._layout.patch_dim), np.float32), *parts]))

    def _encode(self, rows: Tensor, plan: GatePlan) -> tuple[Tensor, Tensor]:
        """Kept cells, their patches side by side [K, m * m * D]; prefix of each frame that has some [F', P, D]."""
        keep, places = torch.from_numpy(plan.keep).flatten(1), self._places()
        lengths = keep.sum(1) * places.shape[1]
        features, prefix = encode_patches(
            self.model,
            rows,
            places.expand(len(keep), -1, -1)[keep].flatten(),
            lengths[lengths > 0].tolist(),
        )
        return features.unflatten(0, (-1, places.shape[1])).flatten(1), prefix

    def _places(self) -> Tensor:
        """The patches of each cell, int64 [cells, m * m], numbered row by row in their frame."""
        side = self._layout.merge_size
        return rearrange(
            torch.arange(self.grid[0] * self.grid[1]).view(self.grid),
            "(H m) (W n) -> (H W) (m n)",
            m=side,
            n=side,
        )

    def _on_grid(self, tokens: VideoTokens) -> tuple[Tensor, Tensor]:
        """Features [F, N, D] of all patches, and which of them something shows, bool [F, N]."""
        places, (frames, _, _) = self._places(), tokens.shapes[0]
        cells = tokens.features.new_zeros(tokens.num_cells, tokens.features.shape[1])
        cells[tokens.cell.to(cells.device)] = tokens.features
        # where in the order of cells each patch of a frame stands
        order = places.flatten().argsort()
        patches = cells.unflatten(1, (places.shape[1], -1)).flatten(0, 1).unflatten(0, (frames, -1))
        shown = (tokens.source >= 0).view(frames, -1).repeat_interleave(places.shape[1], dim=1)
        return patches[:, order.to(patches.device)], shown[:, order]

    def _account(self, report: Report, plan: GatePlan, rows: int) -> None:
        report.dense_tokens, report.encoded_cells = plan.num_cells, plan.num_kept
        gate, tower = report.stage("gate"), report.stage("tower")
        gate.patches_in, gate.patches_out = plan.num_cells * self._layout.patches_per_cell, rows
        gate.tokens_in, gate.tokens_out = plan.num_cells, plan.num_kept
        tower.patches_in, tower.tokens_out = rows, plan.num_kept
        if self.model.num_prefix_tokens and not plan.keep.all():
            tower.note = "class and register tokens see the kept patches of their frame"
        for note in (*plan.notes, *self._notes):
            report.note(note)


def _check_config(config: PlanConfig) -> None:
    if config.down_scaling:
        raise ConfigError(
            "down_scaling makes frames smaller, and this tower has one size; use preset 'framegate'."
        )
    gate = config.gate
    if gate is not None and (config.reuses or not gate.refill):
        raise ConfigError(
            f"preset {config.preset!r} has gate.mode {gate.mode!r} and gate.refill {gate.refill}; a tower "
            "alone gives every cell features: set mode='drop' and refill=True, or use preset 'framegate'."
        )


def _pixels_of(model: Any, side: int) -> tuple[PatchLayout, TowerView, tuple[str, ...]]:
    """How frames are cut, scaled and brought to size, and what had to be assumed."""
    told, notes = getattr(model, "pretrained_cfg", None) or {}, []
    mean, std, resample = (told.get(name) for name in ("mean", "std", "interpolation"))
    if mean is None or std is None:
        mean, std = _HALF, _HALF
        notes.append("the model's pretrained_cfg names no mean and std: 0.5 assumed")
    if resample not in _RESAMPLES:
        notes.append(
            f"the model's pretrained_cfg names {resample} as interpolation: frames are scaled bicubic"
        )
        resample = "bicubic"
    layout = PatchLayout(
        patch_size_px=model.patch_embed.patch_size[0],
        temporal_patch_size=1,
        merge_size=side,
        mean=tuple(mean),
        std=tuple(std),
    )
    return layout, view_of(model, cell_px=layout.cell_px, resample=resample), tuple(notes)


def _up_to_each_frame(prefix: Tensor, keep: Tensor) -> Tensor:
    """Of frames that keep something [F', P, D] to each of [F, P, D] the last one up to it, zeros before the first."""
    number = (keep.flatten(1).any(1).cumsum(0) - 1).to(prefix.device)
    return prefix[number.clamp(min=0)] * (number >= 0)[:, None, None]


@contextmanager
def _timed(report: Report, stage: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    report.stage(stage).milliseconds = (time.perf_counter() - started) * 1000
