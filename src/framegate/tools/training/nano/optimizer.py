"""How framegate/nano's weights move: Muon for the matrices of its layers, AdamW for everything else."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from framegate.errors import ConfigError


class FlatPatchEmbed(nn.Module):
    """A tower's patch embedding as one matrix product, with the same weights under the same name.

    A convolution whose kernel is as large as its step is a matrix product, which is faster on a CPU.

    Args:
        patch_embed: the tower's own, with its convolution `proj`.
    """

    def __init__(self, patch_embed: Any) -> None:
        super().__init__()
        self.proj = patch_embed.proj

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Map rows [N, channels * frames * patch * patch] to [N, D]."""
        return functional.linear(rows, self.proj.weight.flatten(1), self.proj.bias)


class Optimizers:
    """Muon and AdamW behind one door.

    Muon takes the matrices inside layers; patch embedding, merger, embeddings, positions, heads and vectors are
    AdamW's. Both take the same rate: Muon's is scaled so that its steps are as large as AdamW's.

    Args:
        model: a Hugging Face model with `model.visual` and `model.language_model`.
        head: of the first lesson.
        rate: learning rate at the start.

    Raises:
        ConfigError: this torch has no Muon.
    """

    def __init__(self, model: Any, head: nn.Module, rate: float) -> None:
        if not hasattr(torch.optim, "Muon"):
            raise ConfigError(f"torch {torch.__version__} has no Muon; training needs torch 2.9 or newer.")
        layers = nn.ModuleList([model.model.visual.blocks, model.model.language_model.layers])
        inner = [weight for weight in layers.parameters() if weight.ndim == 2]
        known = {id(weight) for weight in inner}
        others = [
            weight for module in (model, head) for weight in module.parameters() if id(weight) not in known
        ]
        groups = [
            {"params": [weight for weight in others if weight.ndim >= 2], "weight_decay": 0.01},
            {"params": [weight for weight in others if weight.ndim < 2], "weight_decay": 0.0},
        ]
        self.parts = (
            torch.optim.Muon(inner, lr=rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98)),
        )

    def step(self, rate: float) -> None:
        """Move every weight that has a gradient, and forget the gradients."""
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = rate
            part.step()
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> list[Any]:
        """States of both, in order."""
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states: list[Any]) -> None:
        """Take up what `state_dict` gave."""
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)
