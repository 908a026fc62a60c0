"""GatedResidualTokenizer: a patch tower that encodes the cells a plan names, and gives tokens of the filled grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from framegate.errors import PlaceholderError
from framegate.kernels.backend import Backend
from framegate.models.cell_plan import CellPlan
from framegate.models.stages.refill import Refill
from framegate.models.video_tokens import VideoTokens

# tower, rows of the encoded cells, the flat plan -> features [K, D], one tensor per layer
Encode = Callable[[Any, Tensor, CellPlan], Sequence[Tensor]]


class GatedResidualTokenizer(nn.Module):
    """Turns the pixels of encoded cells into one token for every cell that something shows.

    The tower sees encoded cells alone; what it skipped is shown again by the features of its anchor. Used alone it owns
    its tower. A front end hands over the tower of its model, which stays the model's: `owns_tower=False` keeps it out
    of this module's parameters and state.

    Args:
        tower: takes rows [K * r, ...] of K encoded cells, r rows a cell, and gives features [K, D]; with `encode`
            whatever that calls.
        encode: how the tower is run, for towers that need more than rows; None calls `tower(rows)`.
        refill: skipped cells are shown again; without it they have no token. A front end fills by a stage of its own,
            behind this module, which it switches and accounts for call by call.
        owns_tower: register the tower as a part of this module.
        backend: how features are merged later, "auto", "torch" or "triton".
    """

    def __init__(
        self,
        tower: Any,
        *,
        encode: Encode | None = None,
        refill: bool = True,
        owns_tower: bool = True,
        backend: Backend = "auto",
    ) -> None:
        super().__init__()
        if owns_tower:
            self.tower = tower
        else:
            # past nn.Module, which would take the model's tower for a part of this module
            object.__setattr__(self, "tower", tower)
        self._encode = encode or _call_tower
        self.refill = Refill() if refill else None
        self.backend = backend

    def extra_repr(self) -> str:
        """Name in `print(model)` a tower that belongs to someone else."""
        return "" if "tower" in self._modules else f"tower={type(self.tower).__name__}, of the model"

    def forward(self, rows: Tensor, plan: CellPlan, *, encode: Encode | None = None) -> VideoTokens:
        """Encode and fill.

        Args:
            rows: of the encoded cells of all videos, in token order, as the tower takes them.
            plan: flat plan of all videos; `cell_plan` makes one of the anchors of GatePlans.
            encode: how the tower is run this time, for what differs from call to call; None for the way given before.

        Returns:
            The tokens, [N, D] in each layer, N every shown cell, or every encoded one without refill.

        Raises:
            PlaceholderError: the tower gave another number of features than the plan has encoded cells.
        """
        layers = list((encode or self._encode)(self.tower, rows, plan))
        if any(len(layer) != plan.num_kept for layer in layers):
            raise PlaceholderError(
                f"The tower gave {[len(layer) for layer in layers]} features; the plan has {plan.num_kept} encoded "
                "cells."
            )
        tokens = VideoTokens.of_cells(layers, plan.keep, plan.anchor, plan.shapes, backend=self.backend)
        return tokens if self.refill is None else self.refill(tokens)


def _call_tower(tower: Any, rows: Tensor, plan: CellPlan) -> list[Tensor]:
    """Run a plain tower: rows in, features out."""
    features: Tensor = tower(rows)
    return [features if features.ndim == 2 else torch.flatten(features, 0, -2)]
