"""From one tube of a stream to its tokens: the tower encodes what changed, anchors stand for the rest."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from framegate.kernels.backend import Backend
from framegate.models.cell_plan import CellPlan
from framegate.models.live.memory import StoredTube
from framegate.models.mechanism import Mechanism
from framegate.models.stages.registry import StageCall
from framegate.models.stages.select.stage import TokenSelect
from framegate.models.towers.patches import patchify
from framegate.models.video_tokens import VideoTokens
from framegate.tokenizers.gate.plan import GatePlan


class TubeEncoder:
    """Encodes the tubes of one stream, in order; holds what every cell shows, one tube's features and no more.

    Args:
        mechanism: the model's tower, one of those that encode tubes apart.
        backend: how framegate's own operations run.
        news_above: a cell is new where it had changed by more than this; a refreshed one has not.
    """

    def __init__(self, mechanism: Mechanism, *, backend: Backend, news_above: float) -> None:
        self._mechanism, self._backend, self._news_above = mechanism, backend, news_above
        self._shown: tuple[Tensor, ...] = ()
        self._age = torch.zeros(0, dtype=torch.long)
        self._number = self._encoded = 0

    @torch.no_grad()
    def __call__(self, plan: GatePlan) -> StoredTube:
        """Encode the next tube.

        Args:
            plan: of one tube, with its frames and their times, as `gate_stream` gives it.

        Returns:
            Every cell that was ever shown, by its own features or its anchor's.
        """
        _, rows, columns = plan.keep.shape
        keep = torch.from_numpy(plan.keep.reshape(-1))
        if not len(self._age):
            self._age = torch.full((rows * columns,), -1)
        self._age = torch.where(keep, 0, torch.where(self._age >= 0, self._age + 1, -1))
        if bool(keep.any()):
            self._commit(keep, self._encode(plan, keep))
        self._encoded += int(keep.sum())
        cell = (self._age >= 0).nonzero()[:, 0]
        source = torch.full((len(keep),), -1)
        source[cell] = torch.arange(len(cell))
        at = cell.to(self._shown[0].device)
        change = torch.from_numpy(plan.residual.reshape(-1))
        assert plan.frames is not None
        tube = StoredTube(
            tokens=VideoTokens(
                layers=tuple(layer[at] for layer in self._shown),
                cell=cell,
                size=torch.ones_like(cell),
                source=source,
                age=self._age[cell],
                shapes=((1, rows, columns),),
                backend=self._backend,
            ),
            times_seconds=plan.frames.timestamps_seconds,
            number=self._number,
            encoded_cells=self._encoded,
            change=change,
            news=(change > self._news_above) | (keep if self._number == 0 else torch.zeros_like(keep)),
        )
        self._number += 1
        return tube

    def _encode(self, plan: GatePlan, keep: Tensor) -> list[Tensor]:
        layout = self._mechanism.layout
        assert layout is not None
        _, rows, columns = plan.keep.shape
        pixels = torch.from_numpy(patchify(plan.source_frames(), layout, plan.keep))
        merge = self._mechanism.merge_size
        call = {"video_grid_thw": torch.tensor([[1, rows * merge, columns * merge]])}
        own = torch.where(keep, torch.arange(len(keep)), -1)
        cells = CellPlan(keep=keep, anchor=own, shift_patches=None, shapes=((1, rows, columns),))
        return self._mechanism.encode(pixels, call, cells, anchored=False, backend=self._backend).layers

    def _commit(self, keep: Tensor, layers: list[Tensor]) -> None:
        """Let the cells that were encoded show what they are now."""
        if not self._shown:
            self._shown = tuple(layer.new_zeros(len(keep), layer.shape[1]) for layer in layers)
        at = keep.nonzero()[:, 0].to(layers[0].device)
        for shown, layer in zip(self._shown, layers, strict=True):
            shown[at] = layer


def thin(tube: StoredTube, count: int, *, select: TokenSelect) -> StoredTube:
    """Leave a tube its most telling tokens, by a select rule that sees this tube alone."""
    return replace(tube, tokens=select(tube.tokens, StageCall(targets=[count], change=tube.change)))
