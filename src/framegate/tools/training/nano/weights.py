"""What framegate/nano learns: weights grown from a smaller model's, its patch embedding, and the optimisers."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from framegate.errors import ConfigError

_BLOCKS = "model.visual.blocks."
Weights = dict[str, torch.Tensor]
# what adds to the residual stream, or mixes heads and hidden units into it: nothing at first where it is new
_OUTWARDS = ("attn.proj.weight", "attn.proj.bias", "linear_fc2.weight", "linear_fc2.bias", "pos_embed.weight")


def load_grown(model: Any, weights: Weights, source: object) -> None:
    """Load weights of a model whose tower may have fewer layers, heads or dimensions.

    Old numbers keep their places. New columns are zero, so that no old unit listens to a new one; what new units
    give to old places is zero; new layers add nothing. Norms take their mean over more numbers than before, which
    training has to make good.

    Args:
        model: the larger one, in float32, initialised.
        weights: of the smaller one, by name.
        source: where they come from, for the message.

    Raises:
        ConfigError: a weight has no place in the model or is larger than it, or one is missing that is of no new layer
            of the tower.

    Source: after Net2Net (Chen et al. 2016).
    """
    ours = model.state_dict()
    if strange := weights.keys() - ours.keys():
        raise ConfigError(f"{source} is of another model: there is no place for {sorted(strange)[0]}.")
    missing = {name for name in ours.keys() - weights.keys() if not name.startswith((_BLOCKS, "lm_head."))}
    if missing:
        raise ConfigError(f"{source} is of another model: it has no {sorted(missing)[0]}.")
    with torch.no_grad():
        for name, new in ours.items():
            old = weights.get(name)
            if old is None and name.startswith(_BLOCKS) and name.endswith(_OUTWARDS):
                new.zero_()
            elif old is not None:
                _place(name, new, old.to(new.dtype), source)
    model.tie_weights()


def _place(name: str, new: torch.Tensor, old: torch.Tensor, source: object) -> None:
    """Write an old tensor into its place in a larger one, in place."""
    if new.shape == old.shape:
        new.copy_(old)
        return
    parts = _parts(name)
    inner, small = (_split(tensor, parts) for tensor in (new, old))
    if inner.ndim != small.ndim or any(a < b for a, b in zip(inner.shape, small.shape, strict=True)):
        raise ConfigError(
            f"{source}: {name} is {tuple(old.shape)}, which has no place in {tuple(new.shape)}."
        )
    if "patch_embed" in name:
        fresh = least_explained(new, old, len(new) - len(old)) if new.ndim > 1 else new[len(old) :].clone()
        new.copy_(torch.cat([old, fresh]))
        return
    corner = tuple(slice(size) for size in small.shape)
    if name.endswith(_OUTWARDS):
        inner.zero_()
    elif new.ndim == 2:
        inner[corner[: len(parts[0]) + 1]] = 0  # old units listen to old units alone
    inner[corner] = small


def least_explained(filters: torch.Tensor, old: torch.Tensor, count: int) -> torch.Tensor:
    """Choose filters that show what others do not.

    Args:
        filters: [N, ...], the coarsest first.
        old: [M, ...], filters that are there already.
        count: how many to choose.

    Returns:
        [count, ...]: the first filters of which `old` gives less than 70 % back, faint ones not counted (any where
        there are too few), as strong on average as the old ones.
    """
    there, asked = (functional.normalize(rows.flatten(1), dim=1) for rows in (old, filters))
    shared = there @ asked.T
    # a tenth of a filter's strength counts as faint
    told = torch.linalg.solve(there @ there.T + 0.1 * torch.eye(len(there)), shared)
    explained = (told * shared).sum(0)
    chosen = filters[(explained >= 0.7).float().argsort(stable=True)[:count]]
    return chosen * (old.flatten(1).norm(dim=1).mean() / chosen.flatten(1).norm(dim=1).mean())


def _parts(name: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """How rows and columns of a weight are made up: (3 for q, k, v) rows, (4 patches of a cell) columns."""
    rows = (3,) if ".qkv." in name else ()
    merges = "merger" in name and ("linear_fc1.weight" in name or "deepstack_merger_list" in name)
    if merges and ".norm." in name:
        return (4,), ()
    return rows, (4,) if merges and name.endswith("linear_fc1.weight") else ()


def _split(tensor: torch.Tensor, parts: tuple[tuple[int, ...], tuple[int, ...]]) -> torch.Tensor:
    """View rows and columns with their parts as dimensions of their own."""
    rows, columns = parts
    shape: list[int] = [*rows, -1] if rows else [tensor.shape[0]]
    if tensor.ndim == 2:
        shape += [*columns, -1] if columns else [tensor.shape[1]]
    else:
        shape += tensor.shape[1:]
    return tensor.view(shape)


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


class Muon(torch.optim.Optimizer):
    """Muon with its products in the weights' own precision, matrices of one shape at a time.

    torch.optim.Muon computes in bfloat16, which takes ten times as long on a CPU that does not know it, and more than
    the rest of a step.

    Args:
        weights: matrices [A, B].
        lr: learning rate; a step is as large as AdamW's at the same rate.
        weight_decay: share of `lr` by which a weight shrinks in a step.
        momentum: share of the last steps' mean that stays, looked ahead by one step (Nesterov).

    Source: Jordan et al. 2024, scaled after Liu et al. 2025 (Moonlight).
    """

    def __init__(
        self, weights: list[nn.Parameter], *, lr: float, weight_decay: float, momentum: float = 0.95
    ) -> None:
        super().__init__(weights, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Move every weight that has a gradient."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = {}
            for weight in group["params"]:
                if weight.grad is not None:
                    by_shape.setdefault(weight.shape, []).append(weight)
            for shape, weights in by_shape.items():
                ahead = torch.stack([self._ahead(weight, group["momentum"]) for weight in weights])
                scale = 0.2 * math.sqrt(max(shape)) * group["lr"]
                for weight, move in zip(weights, orthogonal(ahead), strict=True):
                    weight.mul_(1 - group["lr"] * group["weight_decay"]).sub_(move, alpha=scale)

    def _ahead(self, weight: nn.Parameter, momentum: float) -> torch.Tensor:
        """The mean of the last gradients, and one step of it ahead."""
        mean = self.state[weight].setdefault("momentum_buffer", torch.zeros_like(weight))
        mean.lerp_(weight.grad, 1 - momentum)
        return weight.grad.lerp(mean, momentum)  # type: ignore[union-attr]


def orthogonal(matrices: torch.Tensor, *, steps: int = 5) -> torch.Tensor:
    """Bring all singular values near 1 (between 0.5 and 1.5), by Newton-Schulz.

    Args:
        matrices: [N, A, B].
        steps: of the iteration.

    Returns:
        [N, A, B].
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    tall = matrices.shape[1] > matrices.shape[2]
    found = matrices.mT if tall else matrices
    found = found / found.flatten(1).norm(dim=1).clamp(min=1e-7)[:, None, None]
    for _ in range(steps):
        gram = found @ found.mT
        found = torch.baddbmm(found, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), found, beta=a)
    return found.mT if tall else found


class Optimizers:
    """Muon and AdamW behind one door.

    Muon takes the matrices inside layers; patch embedding, merger, embeddings, positions, heads and vectors are
    AdamW's. Both take the same rate: Muon's is scaled so that its steps are as large as AdamW's.

    Args:
        model: a Hugging Face model with `model.visual` and `model.language_model`.
        head: of the first lesson.
        rate: learning rate at the start.
    """

    def __init__(self, model: Any, head: nn.Module, rate: float) -> None:
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
            Muon(inner, lr=rate, weight_decay=0.01),
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
